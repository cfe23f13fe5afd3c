#!/bin/bash
#
# budgets.sh
#	  No source file over 500 lines, no function over 100, no line over 120.
set -uo pipefail
cd "$(dirname "$0")/../.."

find src -name '*.[ch]' | sort | xargs awk '
	FNR == 1 { previous = "" }
	FNR == 501 { print FILENAME ": more than 500 lines"; bad = 1 }
	/^{/ && previous ~ /\)$/ { start = FNR; name = header }
	/^}/ && start {
		if (FNR - start - 1 > 100)
		{
			print FILENAME ":" start ": " name " has " FNR - start - 1 " lines"
			bad = 1
		}
		start = 0
	}
	/^[a-z_].*\(/ { header = $0; sub(/\(.*/, "", header) }
	{
		previous = $0
		line = $0
		width = 0
		while ((tab = index(line, "\t")) > 0)
		{
			width += tab - 1
			width += 4 - width % 4
			line = substr(line, tab + 1)
		}
		if (width + length(line) > 120) { print FILENAME ":" FNR ": longer than 120"; bad = 1 }
	}
	END { exit bad }'
