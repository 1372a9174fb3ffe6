/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/rnd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/must.h"

uint64_t rnd_env(const char *name, uint64_t def)
{
	const char *text = getenv(name);
	char *end = NULL;
	uint64_t n;

	if (!text || text[0] == '\0')
		return def;
	n = strtoull(text, &end, 0);
	MUST(*end == '\0', "%s=%s is not a number", name, text);
	return n;
}

uint64_t rnd_share(void)
{
	uint64_t share = rnd_env("TEST_SHARE", 1);

	MUST(share > 0, "TEST_SHARE is 0");
	return share;
}

uint64_t rnd_count(const char *name, uint64_t def)
{
	uint64_t share = rnd_share();

	return rnd_env(name, (def + share - 1) / share);
}

uint64_t rnd_seed(void)
{
	static uint64_t seed;
	static bool known;

	if (!known) {
		struct timespec ts;

		(void)clock_gettime(CLOCK_REALTIME, &ts);
		seed = rnd_env("TEST_SEED",
			       (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
		known = true;
		(void)printf("seed=%" PRIu64 "\n", seed);
		(void)fflush(stdout);
	}
	return seed;
}

struct rnd rnd_stream(uint64_t number)
{
	struct rnd r = {rnd_seed() ^ (number * UINT64_C(0xd1342543de82ef95))};

	(void)rnd_u64(&r);
	return r;
}

/* splitmix64 */
uint64_t rnd_u64(struct rnd *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rnd_below(struct rnd *r, uint64_t n)
{
	return rnd_u64(r) % n;
}

bool rnd_one_in(struct rnd *r, uint64_t n)
{
	return rnd_below(r, n) == 0;
}

uint64_t rnd_log(struct rnd *r, uint64_t max)
{
	unsigned int bits = 0;
	uint64_t top;

	while (bits < 63 && (UINT64_C(2) << bits) <= max)
		bits++;
	top = UINT64_C(1) << rnd_below(r, bits + 1);
	top += rnd_below(r, top);
	return top < max ? top : max;
}

void rnd_fill(void *buf, size_t len, uint64_t number)
{
	struct rnd r = {number * UINT64_C(0xa0761d6478bd642f) + 1};
	uint8_t *p = buf;

	while (len > 0) {
		uint64_t word = rnd_u64(&r);
		size_t n = len < sizeof(word) ? len : sizeof(word);

		memcpy(p, &word, n);
		p += n;
		len -= n;
	}
}
