#!/bin/bash
#
# exports.sh
#	  What the module shows to others begins with nexus_, and what it takes
#	  from others exists once.
#
# PostgreSQL exports a json_object() of its own, and the one found first wins: a
# call of jansson's function of that name would end in PostgreSQL's.
set -uo pipefail
cd "$(dirname "$0")/../.."
module=nexus_pg.so
status=0

complain() { printf '%s\n' "$*"; status=1; }
defined() { nm -D --defined-only "$@" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u; }
undefined() { nm -D --undefined-only "$@" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u; }

library() { echo "$(pkg-config --variable=libdir "$1")/$2"; }

check_names()
{
	local symbol
	while read -r symbol; do
		complain "$module exports $symbol"
	done < <(defined "$module" | grep -vE '^(nexus_.*|pg_finfo_.*|_PG_.*|Pg_magic_func|_init|_fini|_edata|_end|__bss_start)$')
}

check_headers()
{
	local line
	while read -r line; do
		complain "extern without nexus_: $line"
	done < <(grep -rnE '^extern ' src --include='*.[ch]' |
		grep -vE '^[^:]*:[0-9]+:extern (PGDLLEXPORT )?[A-Za-z_0-9[:space:]]*[[:space:]*]*(nexus_|_PG_init)')
}

check_ambiguous()
{
	local symbol postgres other
	postgres=$(pg_config --bindir)/postgres
	for other in "$(library jansson libjansson.so)" "$(library libcurl libcurl.so)"; do
		while read -r symbol; do
			complain "$module takes $symbol, which postgres and $(basename "$other") both have"
		done < <(comm -12 <(undefined "$module") <(comm -12 <(defined "$postgres") <(defined "$other")))
	done
}

if [ ! -e "$module" ]; then complain "$module is not built"; exit 1; fi
check_names
check_headers
check_ambiguous
exit $status
