# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by quickstart and check: installs the packages that packages.txt names and that are
# missing.  Where all are there, nothing is run and nothing is fetched.

# deps_missing ROOT: the packages that are not installed, one a line.
deps_missing() {
	local package status
	while read -r package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=none
		[ "$status" = installed ] || printf '%s\n' "$package"
	done < <(grep -v -e '^#' -e '^$' "$1/packages.txt")
}

# deps_install ROOT: 0 when all is there in the end.
deps_install() {
	local missing as_root=()
	if ! command -v dpkg-query >/dev/null; then
		echo "Not a Debian system: the packages of packages.txt are taken to be there." >&2
		return 0
	fi
	mapfile -t missing < <(deps_missing "$1")
	[ "${#missing[@]}" -gt 0 ] || return 0
	echo "Installing: ${missing[*]}"
	if [ "$(id -u)" -ne 0 ]; then
		if ! command -v sudo >/dev/null; then
			echo "Run as root: apt-get install ${missing[*]}" >&2
			return 1
		fi
		as_root=(sudo)
	fi
	"${as_root[@]}" apt-get update -qq || return 1
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || return 1
	mapfile -t missing < <(deps_missing "$1")
	[ "${#missing[@]}" -eq 0 ] || {
		echo "Still missing: ${missing[*]}" >&2
		return 1
	}
}
