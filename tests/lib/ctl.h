/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ctl.h: cowctl ($COWCTL) as a child of a test.  Any thread.
 */
#ifndef TESTS_LIB_CTL_H
#define TESTS_LIB_CTL_H

#include <stdint.h>
#include <sys/types.h>

struct model;

/* Starts "cowctl -u uri args..." (args ends in NULL); *out is its standard output, to be read. */
pid_t ctl_start(const char *uri, const char *const *args, int *out);

/* Waits for the end; the exit status, or 128 and the signal. */
int ctl_wait(pid_t pid);

/* Whether "cowctl cat" of the range gives what the model has there, no more and no less. */
void ctl_compare(const char *uri, const char *name, const struct model *m, uint64_t off,
		 uint64_t len);

#endif
