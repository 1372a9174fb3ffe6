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

/*
 * Runs cowctl with the words of a line, which are separated by single blanks, and leaves what it
 * prints in out and err.  Returns its exit status.
 */
#define CTL_OUTPUT_MAX (1u << 18)
int ctl_run(const char *line, char out[CTL_OUTPUT_MAX], char err[CTL_OUTPUT_MAX]);

/* The same with a terminal as its standard input and error, at which the answer is typed. */
int ctl_run_at_terminal(const char *line, const char *answer, char out[CTL_OUTPUT_MAX],
			char err[CTL_OUTPUT_MAX]);

/* Whether "cowctl cat" of the range gives what the model has there, no more and no less. */
void ctl_compare(const char *uri, const char *name, const struct model *m, uint64_t off,
		 uint64_t len);

#endif
