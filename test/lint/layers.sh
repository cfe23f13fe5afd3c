#!/bin/bash
#
# layers.sh
#	  Arrows between the folders of src/ point down only, and each library is
#	  seen by the files named here alone.
set -uo pipefail
cd "$(dirname "$0")/../.."
status=0

complain() { printf '%s\n' "$*"; status=1; }

# The folders whose headers the files of a folder may include.
allowed()
{
	case $1 in
		protocol) echo protocol ;;
		net) echo protocol net ;;
		listener) echo protocol listener ;;
		shared) echo protocol shared ;;
		store) echo protocol shared store ;;
		worker) echo protocol net shared store worker ;;
		api) echo protocol net/local_socket.h shared store api ;;
		.) echo protocol net shared store worker ;;
	esac
}

FOLDERS='protocol|net|listener|shared|store|worker|api'

check_arrows()
{
	local file=$1 folder=$2 header target
	while read -r header; do
		target=${header%%/*}
		case " $(allowed "$folder") " in
			*" $target "* | *" $header "*) ;;
			*) complain "$file: includes \"$header\", which $folder/ may not" ;;
		esac
	done < <(sed -nE "s/^#include \"(($FOLDERS)\/[^\"]*)\".*/\1/p" "$file")
}

# These two folders are compiled without PostgreSQL.
check_purity()
{
	local file=$1 folder=$2 header
	case $folder in protocol | listener) ;; *) return ;; esac
	while read -r header; do
		complain "$file: includes \"$header\", but $folder/ is free of PostgreSQL"
	done < <(sed -nE 's/^#include "([^"]*)".*/\1/p' "$file" | grep -vE "^($folder|protocol)/")
}

# Only the files that match a pattern may include a header.
only_in()
{
	local header=$1 files=$2 file
	while read -r file; do
		if [[ ! $file =~ ^($files)$ ]]; then complain "$file: includes $header"; fi
	done < <(grep -rlE "^#include [<\"]$header[>\"]" src)
}

for file in $(find src -name '*.[ch]' | sort); do
	folder=$(dirname "${file#src/}")
	check_arrows "$file" "$folder"
	check_purity "$file" "$folder"
done
only_in 'curl/[a-z]*\.h' 'src/net/http_[a-z]*\.[ch]|src/compat\.h'
only_in 'jansson\.h' 'src/protocol/(failure|reply|json_text)\.[ch]'
only_in 'microhttpd\.h' 'src/listener/http_server\.c'
# await.c ends and begins transactions by SPI, as procedures must; it runs no SQL.
only_in 'executor/spi\.h' 'src/store/[a-z_]*\.[ch]|src/api/await\.c'
exit $status
