#!/bin/sh
# complete.sh HEADER PROGRAM LIBRARY: whether the program calls, and the library exports, every function
# that the header declares.
set -eu
functions=$(grep -o '^LIBCOLL_C_API.*' "$1" | grep -o 'libcoll_[a-z_]*(' | tr -d '(' | sort -u)
[ "$(echo "$functions" | wc -l)" -gt 30 ] || { echo "the header cannot be read" >&2; exit 1; }
exported=$(nm -D --defined-only "$3" | awk '{print $3}')
status=0
for f in $functions; do
  grep -q "$f(" "$2" || { echo "$f is not called by the test" >&2; status=1; }
  echo "$exported" | grep -qx "$f" || { echo "$f is not exported" >&2; status=1; }
done
exit $status
