#!/bin/bash
#
# format.sh
#	  C as pg_bsd_indent writes it ("make indent" does that); nothing invisible
#	  at the end of a line or a file, and comments of one kind only.
set -uo pipefail
cd "$(dirname "$0")/../.."
status=0

complain() { printf '%s\n' "$*"; status=1; }

text_files()
{
	find Makefile README.md CHANGELOG.md nexus_pg.control src sql doc test .ci -type f \
		-regextype posix-extended -regex '.*(Makefile|/run|/demo|/packages|/tap|\.(c|h|md|sql|pl|pm|py|go|sh|spec|control))' \
		2>/dev/null | sort
}

while read -r file; do
	if grep -nP '[ \t\r]+$' "$file"; then complain "$file: blanks at the end of a line"; fi
	if [ -n "$(tail -c 1 "$file")" ]; then complain "$file: no newline at its end"; fi
done < <(text_files)
while read -r line; do
	complain "a // comment: $line"
done < <(grep -rnP '^(?:[^"]|"(?:[^"\\]|\\.)*")*?(?<!:)//' src --include='*.[ch]' | grep -vP '^[^:]*:\d+:\s*(/?\*|")')
test/lint/indent --check . || status=1
exit $status
