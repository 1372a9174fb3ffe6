# SPDX-License-Identifier: BSD-2-Clause
# The options and checks of configure that are our own.

# COWD_DEVELOPER: --enable-developer sets WARN_CFLAGS to all our warnings, as errors.
AC_DEFUN([COWD_DEVELOPER], [
AC_ARG_ENABLE([developer],
  [AS_HELP_STRING([--enable-developer], [all warnings, as errors; all tests required])],
  [], [enable_developer=no])
WARN_CFLAGS="-Wall -Wextra"
AS_IF([test "x$enable_developer" = xyes], [
  WARN_CFLAGS="-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
-Wold-style-definition -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough -Werror"])
AC_SUBST([WARN_CFLAGS])
])

# COWD_SANITIZERS: --enable-sanitizers=LIST sets SANITIZE_CFLAGS, for compiling and linking.  The
# code that sanitizers insert hides value ranges, so that two warnings see what is not there.
AC_DEFUN([COWD_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers=LIST], [build with address,undefined or with thread])],
  [cowd_sanitizers=$enableval], [cowd_sanitizers=no])
AS_CASE([$cowd_sanitizers],
  [no], [SANITIZE_CFLAGS=],
  [address|undefined|address,undefined|undefined,address|thread|thread,undefined],
  [SANITIZE_CFLAGS="-fsanitize=$cowd_sanitizers -fno-omit-frame-pointer -fno-sanitize-recover=all \
-Wno-conversion -Wno-maybe-uninitialized"],
  [AC_MSG_ERROR([--enable-sanitizers takes address, undefined, address,undefined or thread])])
AS_IF([test "x$SANITIZE_CFLAGS" != x], [
  AC_MSG_CHECKING([whether $CC links with $SANITIZE_CFLAGS])
  cowd_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([the compiler lacks -fsanitize=$cowd_sanitizers])])
  CFLAGS=$cowd_save_CFLAGS])
AC_SUBST([SANITIZE_CFLAGS])
])

# COWD_NEED_HEADER(HEADER, PACKAGE): an error that names the Debian package.
AC_DEFUN([COWD_NEED_HEADER], [
AC_CHECK_HEADER([$1], [], [AC_MSG_ERROR([<$1> not found: install $2])])
])

# COWD_CMOCKA: the tests' library; developers cannot do without.
AC_DEFUN([COWD_CMOCKA], [
PKG_CHECK_MODULES([CMOCKA], [cmocka >= 1.1.5], [cowd_have_cmocka=yes], [cowd_have_cmocka=no])
AS_IF([test "x$enable_developer,$cowd_have_cmocka" = xyes,no],
  [AC_MSG_ERROR([--enable-developer needs cmocka 1.1.5 or later: install libcmocka-dev])])
AM_CONDITIONAL([HAVE_CMOCKA], [test "x$cowd_have_cmocka" = xyes])
])
