#!/usr/bin/env bash
# install_and_use.sh CMAKE BUILD SOURCE CXX CC: installs the build into a fresh prefix, builds the
# examples against it with find_package and one with pkg-config, and runs them.
set -euo pipefail
cmake=$1 build=$2 source=$3 cxx=$4 cc=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

DESTDIR='' "$cmake" --install "$build" --prefix "$prefix" >"$work/install.log"
lib=$(dirname "$(find "$prefix" -name 'libcoll.so' | head -n 1)")
test -e "$lib/libcoll.so.0"
# Only public headers are installed, and they stand alone.
if find "$prefix/include" -name '*.h*' | grep -vE '/libcoll/[a-z_]+\.(hpp|h)$'; then echo "private headers are installed" >&2; exit 1; fi
for header in "$prefix"/include/libcoll/*; do
  case $header in
    */mpi.hpp) continue ;;  # needs the program's MPI
    *.h) echo "#include <libcoll/$(basename "$header")>" | "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" -x c - ;;
  esac
  echo "#include <libcoll/$(basename "$header")>" | "$cxx" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -x c++ -
done

# The library depends on no MPI, and its own dependencies are found.
if ldd "$lib/libcoll.so" | grep -iE 'mpi|not found'; then echo "libcoll.so has dependencies it must not have" >&2; exit 1; fi

"$cmake" -S "$source/examples" -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_C_COMPILER="$cc" \
  -DCMAKE_BUILD_TYPE=Release >"$work/configure.log"
"$cmake" --build "$work/examples" -j2 >"$work/build.log" || { cat "$work/build.log"; exit 1; }

count=0
for example in "$work"/examples/example_*; do
  [ -x "$example" ] && [ -f "$example" ] || continue
  count=$((count + 1))
  case $example in
    *_cg) ;;  # an MPI program
    *) timeout 60 "$example" >/dev/null ;;
  esac
  if command -v mpirun.openmpi >/dev/null; then timeout 60 mpirun.openmpi --oversubscribe -n 2 "$example" >/dev/null; fi
done
[ "$count" -ge 6 ] || { echo "only $count examples were built" >&2; exit 1; }

export PKG_CONFIG_PATH=$lib/pkgconfig
use() { pkg-config "$@" libcoll; }
use --exists
# shellcheck disable=SC2046
"$cxx" -std=c++20 "$source/examples/allreduce.cpp" -o "$work/by_pkg_config" $(use --cflags --libs) -Wl,-rpath,"$lib"
"$work/by_pkg_config"
# shellcheck disable=SC2046
"$cc" -std=c11 "$source/examples/allreduce_c.c" -o "$work/c_by_pkg_config" $(use --cflags --libs) -Wl,-rpath,"$lib"
"$work/c_by_pkg_config"
echo "install: $count examples built and run"
