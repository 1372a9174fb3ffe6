/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cases.h: what seeds have found, written down so that it is found again: a seed says the same only for as long
 * as the same is drawn from it, so a case says what has to be drawn more often (cases.txt).
 */
#ifndef TESTS_SIM_CASES_H
#define TESTS_SIM_CASES_H

#include <stdbool.h>
#include <stdint.h>

#define CASES_MAX 64u

struct sim_case {
	char name[32];	 /* "": what is drawn is as it is */
	char draws[160]; /* NAME=NUMBER, by spaces */
};

/* What a seed draws. */
struct sim_draws {
	uint32_t faults_one_in; /* runs: 0: none */
	uint32_t fits_one_in;	/* seeds: where objects fit their reservations */
	uint64_t dev_nblks;	/* 0: some number */
};

/* How many there are in the file. */
unsigned int cases_load(const char *path, struct sim_case cases[CASES_MAX]);

/* NULL: there is none of that name. */
const struct sim_case *cases_find(const struct sim_case *cases, unsigned int n, const char *name);

/* What is drawn by this case: into "draws", and the weights of operations (ops.h). */
void case_begin(const struct sim_case *c, struct sim_draws *draws);

#endif
