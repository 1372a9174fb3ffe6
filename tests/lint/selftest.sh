#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The lint's own test: each check passes on a small clean tree, and fails, naming the rule, when
# that tree gets one violation.
set -eu

here=${srcdir:?}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset builddir
cases=0 failed=0
spdx='/* SPDX-License-Identifier: BSD-2-Clause */'

# put FILE: stdin becomes the file, under the tree.
put() {
	mkdir -p "$dir/tree/$(dirname "$1")"
	cat >"$dir/tree/$1"
}

# c FILE LINES...: a C file with an SPDX line.
c() {
	local file=$1
	shift
	printf '%s\n' "$spdx" "$@" | put "$file"
}

clean_tree() {
	rm -rf "$dir/tree"
	mkdir -p "$dir/tree/tests/lint"
	cp "$here/.clang-format" "$dir/tree/"
	cp "$here/tests/lint/layers.txt" "$dir/tree/tests/lint/"
	c common/err.h '#ifndef ERR_H' '#define ERR_H' 'int err_value(void);' '#endif'
	c common/err.c '#include "common/err.h"' '' 'int err_value(void)' '{' $'\treturn 1;' '}'
	c server/map.h '#ifndef MAP_H' '#define MAP_H' '#include "common/err.h"' '#endif'
	c server/map_a.h '#ifndef MAP_A_H' '#define MAP_A_H' '#include "server/map.h"' '#endif'
	c client/cow.h '#ifndef COW_H' '#define COW_H' 'int cow_ping(void);' '#endif'
	c tests/unit/test_err.c '#include "common/err.h"' '' 'int main(void)' '{' \
		$'\treturn err_value();' '}'
	printf '%s\n' "$spdx" 'V1 {' 'global:' 'cow_ping;' 'local: *;' '};' | put client/libcow.map
	printf '%s\n' '#!/bin/sh' '# SPDX-License-Identifier: BSD-2-Clause' 'echo "$@"' |
		put tests/run.sh
	printf '%s\n' '# SPDX-License-Identifier: BSD-2-Clause' 'A = 1' | put tests/tool.py
	printf '%s\n' '.\" SPDX-License-Identifier: BSD-2-Clause' '.Dd January 1, 2026' '.Dt COWD 8' \
		'.Os' '.Sh NAME' '.Nm cowd' '.Nd a server' | put man/cowd.8
	printf '%s\n' '# SPDX-License-Identifier: BSD-2-Clause' \
		'L = common/err.h common/err.c server/map.h server/map_a.h client/cow.h' \
		'L += client/libcow.map tests/unit/test_err tests/run.sh tests/tool.py man/cowd.8' \
		'L += tests/lint/layers.txt docs/protocol.md tests/conformance/script.txt tests/local.mk' \
		'L += docs/durability.md tests/unit/test_err.c' | put Makefile.am
	printf '# SPDX-License-Identifier: BSD-2-Clause\n' | put configure.ac
	protocol
	planted_bug
	# shellcheck disable=SC2016 # Markdown's marks, not the shell's
	hazards '`test_err: main`'
	# shellcheck disable=SC2016 # Markdown's marks, not the shell's
	printf '%s\n' '### `common/`' '| `err.[ch]` | errors |' '### `server/`' '| `map.h`, `map_*.h` | |' \
		'### `client/`' '| `cow.h`, `libcow.map` | |' '## 9. Invariants' '1. One.' | put DESIGN.md
}

# A bug that can be planted.
planted_bug() {
	printf '%s\n' 'Rule: invariant 1' 'Breaks: another value' 'Tests: tests/unit/test_err' \
		'--- a/common/err.c' '+++ b/common/err.c' '@@ -5 +5 @@' $'-\treturn 1;' $'+\treturn 2;' |
		put tests/sabotage/01-value.patch
	printf '%s\n' '# SPDX-License-Identifier: BSD-2-Clause' \
		'B = tests/unit/test_err tests/sabotage/01-value.patch tests/sabotage/README.md' |
		put tests/local.mk
	printf '%s\n' '| patch | rule | what the code does then | tests that see it |' '|---|---|---|---|' \
		'| 01-value | invariant 1 | another value | test_err |' | put tests/sabotage/README.md
}

# The protocol of one operation, and its script.
protocol() {
	# shellcheck disable=SC2016 # as above
	printf '%s\n' '| number | operation |' '|---|---|' '| 1 | `PING` |' '' '### 4.1 PING' \
		'`NOENT` or `IO`.' '' '## 5. Statuses' '| number | status |' '|---|---|' '| 0 | `OK` |' \
		'| 2 | `NOENT` | |' '| 3 | `EXIST` | |' '| 7 | `IO` | |' '' | put docs/protocol.md
	printf '%s\n' '# SPDX-License-Identifier: BSD-2-Clause' 'section a' 'ping -> ok' \
		'wire @2 ping a=1 -> NOENT' 'end both=1 wire=1' | put tests/conformance/script.txt
}

# hazards CELL: a table of one promise, with this cell.
hazards() {
	printf '%s\n' '| promise | attacked by |' '|---|---|' "| all is well | $1 |" | put docs/durability.md
}

result() {
	cases=$((cases + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $cases - $2"
	else
		failed=$((failed + 1))
		echo "not ok $cases - $2"
		sed 's/^/# /' "$dir/out"
	fi
}

check() {
	"${PYTHON:-python3}" "$here/tests/lint/$1.py" "$dir/tree" >"$dir/out" 2>&1
}

passes() {
	local broken=0
	check "$1" || broken=1
	result $broken "$1 passes ${2:-a clean tree}"
	clean_tree
}

# reports CHECK COUNT PATTERN WHAT: so many lines of its report match; then the tree is clean again.
reports() {
	local broken=0
	check "$1" || true
	[ "$(grep -c "$3" "$dir/out")" -eq "$2" ] || broken=1
	result $broken "$1 sees: $4"
	clean_tree
}

# fails CHECK RULE: it fails in the case whose title has RULE, and in no other; then the tree is
# clean again.
fails() {
	local broken=1
	if ! check "$1"; then
		grep -q "^not ok .*$2" "$dir/out" && [ "$(grep -c '^not ok' "$dir/out")" -eq 1 ] && broken=0
	fi
	result $broken "$1 sees: $3"
	clean_tree
}

lines() {
	for ((i = 0; i < $1; i++)); do printf '%s\n' "$2"; done
}

function_of() {
	printf 'int %s(int a)\n{\n' "$1"
	lines $(($2 - 4)) $'\ta++;'
	printf '\treturn a;\n}\n'
}

clean_tree
for name in banned budget conformance durability exports format headers includes man manifest sabotage \
	scripts spdx; do
	passes $name
done

c common/err.c '#include "common/err.h"' '#include "server/map.h"'
fails includes 'folders include only' 'common includes server'
c server/map.c '#include "server/map.h"' '#include "server/object.h"'
c server/object.h '#ifndef OBJECT_H' '#define OBJECT_H' '#endif'
fails includes 'no include goes up' 'an upward include'
c server/kv.h '#ifndef KV_H' '#define KV_H' '#include "server/dev.h"' '#endif'
c server/dev.h '#ifndef DEV_H' '#define DEV_H' '#endif'
c server/dev.c '#include "server/dev.h"' '#include "server/kv.h"'
fails includes 'no cycle' 'the .c of a module that includes who includes its .h'
c server/map.h '#ifndef MAP_H' '#define MAP_H' '#include "server/map_a.h"' '#endif'
fails includes 'no cycle' 'two headers that include each other'
c server/extra.c '#include "common/err.h"'
fails includes 'every module has a layer' 'a module without a layer'
c server/map.c '#include "map.h"'
fails includes 'by their path from the root' 'an include that is not from the root'
c server/map.c '#include <lmdb.h>'
fails includes 'owned headers' 'lmdb.h outside of its module'

c server/map.h '#ifndef MAP_H' '#define MAP_H' 'size_t map_len(void);' '#endif'
fails headers 'headers compile alone' 'a header that lacks an include'
c server/map.h 'enum map_kind { MAP_HOLE };'
fails headers 'headers compile alone' 'a header without a guard'
c client/cow.h '#ifndef COW_H' '#define COW_H' 'int cow_ping(int class);' '#endif'
fails headers 'as C++' 'a public header that C++ does not take'

{ echo "$spdx" && for i in {1..40}; do function_of "f$i" 5; done && function_of big 121; } |
	put tests/unit/test_err.c
fails budget 'tests: longest function' 'a function of 121 lines'
{ echo "$spdx" && for i in {1..9}; do function_of "f$i" 5; done && function_of big 76; } |
	put common/err.c
fails budget 'product: 95 %' 'one function in ten of 76 lines'
{ echo "$spdx" && function_of a 21; } | put common/err.c
fails budget 'product: median' 'a median of 21 lines'
{ echo "$spdx" && lines 700 'extern int map_n;'; } | put server/map.h
fails budget 'product: longest file' 'a file of 701 lines'

c common/err.c 'int   err_value ( void ) { return 1; }'
fails format 'clang-format' 'a layout of its own'
printf 'int a;\n' | put common/err.c
fails spdx 'SPDX' 'a source without its SPDX line'
printf '#!/bin/sh\n' | put check
fails spdx 'SPDX' 'a script without suffix and SPDX line'

c common/err.c 'void f(char *a, char *b) { strcpy(a, b); }'
fails banned 'without a bound' 'strcpy'
c common/err.c '/* strcpy(a, b) */' 'const char *a = "gets(b)";' 'int f(void) { return snprintf(0); }'
passes banned 'banned names in comments and strings'
c tests/unit/test_err.c 'int main(void) { usleep(1); }'
fails banned 'no sleep in C' 'usleep'
printf '#!/bin/sh\nwhile true; do sleep 1; done\n' | put tests/run.sh
fails banned 'no sleep in scripts' 'sleep in a script'
c server/map.c 'int flags = MDB_NOSYNC;'
fails banned 'map flag' 'MDB_NOSYNC'
c common/err.c "/* TO""DO: more */"
fails banned 'unfinished' 'a mark of unfinished work'

printf '.Dd January 1, 2026\n.Dt COWD 8\n.Os\n.Sh NAME\n.Nm cowd\n.Nd a server\n.Zz\n' | put man/cowd.8
fails man 'no warning' 'an unknown macro'
rm "$dir/tree/man/cowd.8"
reports man 2 '^not ok' 'no page at all'

printf '#!/bin/sh\nif true; then\n' | put tests/run.sh
reports scripts 1 '^not ok .*scripts parse' 'a syntax error'
printf '#!/bin/sh\nrm %s\n' "\$1" | put tests/run.sh
fails scripts 'shellcheck' 'an unquoted variable'
printf 'def f(:\n' | put tests/tool.py
fails scripts 'Python' 'a Python file that does not compile'

c server/cache.c 'int a;'
# shellcheck disable=SC2016
printf '%s\n' '### `server/`' '| `map*.h`, `cache.c` | |' | put DESIGN.md
fails manifest 'in a makefile' 'a file in no makefile'
c server/cache.c 'int a;'
echo 'L += server/cache.c' >>"$dir/tree/Makefile.am"
fails manifest 'map of DESIGN' 'a source file that DESIGN.md does not name'
# shellcheck disable=SC2016
printf '%s\n' '### `common/`' '| `err.[ch]`, `log.c` | |' | put DESIGN.md
fails manifest 'map of DESIGN' 'a name in DESIGN.md without a file'

script() {
	printf '%s\n' "$@" | put tests/conformance/script.txt
}
script 'section a' 'ping -> EXIST' 'wire ping -> NOENT' 'end both=1 wire=1'
fails conformance 'succeeds' 'an operation that never succeeds'
script 'section a' 'ping -> ok' 'end both=1 wire=0'
reports conformance 2 '^not ok' 'an operation that never fails'
script 'section a' 'ping -> ok' 'ping -> EXIST' 'end both=2 wire=0'
fails conformance 'every status' 'a status that no line has'
script 'section a' 'ping -> ok' 'ping -> NOENT' 'end both=1 wire=0'
fails conformance 'how many lines' 'a line that is not counted'
# shellcheck disable=SC2016 # Markdown's marks
echo '| 4 | `EXTRA` |' | sed -i '3r /dev/stdin' "$dir/tree/docs/protocol.md"
reports conformance 2 '^not ok' 'an operation without a line'

c common/err.c '#include "common/err.h"' '' 'int err_value(void)' '{' $'\treturn 3;' '}'
fails sabotage 'apply' 'a planted bug whose line is gone'
c common/err.c 'int a(void)' '{' $'\treturn 1;' '}' 'int b(void)' '{' $'\treturn 1;' '}'
fails sabotage 'apply' 'a planted bug whose line is there twice'
printf '%s\n' 'Rule: invariant 1' 'Tests: tests/unit/test_err' | put tests/sabotage/02-other.patch
fails sabotage 'patches' 'a planted bug that says too little'
sed -i 's/^1\. One/2. Two/' "$dir/tree/DESIGN.md"
fails sabotage 'rule of' 'a planted bug that breaks no rule'
sed -i 's|tests/unit/test_err ||' "$dir/tree/tests/local.mk"
fails sabotage 'name tests' 'a planted bug for a test that does not exist'
sed -i 's|^B = |&tests/sabotage/09-gone.patch |' "$dir/tree/tests/local.mk"
fails sabotage 'distributed' 'a planted bug that is in a makefile alone'
sed -i 's|tests/sabotage/09-gone.patch ||' "$dir/tree/tests/local.mk"
sed -i 's|tests/sabotage/01-value.patch||' "$dir/tree/tests/local.mk"
fails sabotage 'distributed' 'a planted bug that is in no makefile'
sed -i 's/another/the same/' "$dir/tree/tests/sabotage/README.md"
fails sabotage 'table' 'a planted bug that the table tells otherwise'

hazards 'whatever'
fails durability 'names a test' 'a promise that nothing attacks'
# shellcheck disable=SC2016
hazards '`test_none`'
fails durability 'that is named' 'a test that is not there'
# shellcheck disable=SC2016
hazards '`test_err: none`'
fails durability 'that is named' 'a case that is not there'

c client/cow.h '#ifndef COW_H' '#define COW_H' 'int cow_ping(void);' 'int cow_open(void);' '#endif'
fails exports 'agree' 'a function that is declared and not exported'
c server/map.c 'int cow_map(void);'
fails exports 'alone' 'a cow_ name in the server'
mkdir -p "$dir/build/.libs"
echo 'void cow_ping(void) {} void cow_hidden(void) {}' |
	${CC:-cc} -shared -fPIC -x c -o "$dir/build/.libs/libcow.so" -
export builddir=$dir/build
fails exports 'the library exports' 'a symbol that libcow.map does not have'

echo "1..$cases"
exit $((failed > 0))
