#!/bin/bash
#
# fuzz.sh
#	  The fuzz targets fit the headers of what they test.
set -uo pipefail
cd "$(dirname "$0")/../.."
status=0

for target in test/fuzz/fuzz_*.c; do
	${CC:-cc} -std=gnu99 -fsyntax-only -Isrc -Itest/fuzz -Wall -Wextra -Wno-unused-parameter -Werror "$target" || status=1
done
exit $status
