#!/usr/bin/env bash
# Fetches from PyPI what a machine without CUDA and NCCL lacks: headers for the target nccl_abi_check (build/gpu-headers), and
# the libraries that libcoll opens at run time (build/gpu-libraries). Nothing of it goes into git; libcoll is built without.
# Usage: scripts/fetch-gpu.sh [cuda | nccl [VERSION]]
#   cuda  CUDA 12 and 13: 47 MB;  nccl  NCCL for CUDA 12, 200 to 350 MB: its header comes in no smaller package;  else both
# What is there already stays, unless a version is named.
set -euo pipefail
cd "$(dirname "$0")/.."
headers=build/gpu-headers libraries=build/gpu-libraries
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() {  # name packages...: headers into $headers/name, libcudart and libnccl into $libraries
  local name=$1; shift
  rm -rf "$work/wheels" "$work/headers" "$work/libraries"
  mkdir -p "$work/wheels" "$work/headers" "$work/libraries"
  python3 -m pip download --quiet --retries 1 --timeout 30 --no-deps --only-binary=:all: --dest "$work/wheels" "$@"
  for wheel in "$work"/wheels/*.whl; do python3 - "$wheel" "$work/headers" "$work/libraries" <<'PY'
import pathlib, re, shutil, sys, zipfile
wheel, headers, libraries = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for entry in z.infolist():
        head, mark, tail = entry.filename.partition("/include/")
        library = re.search(r"/lib/(libcudart\.so\.\d+|libnccl\.so\.2)$", entry.filename)
        if library:
            path = pathlib.Path(libraries, library[1])
        elif mark and not entry.is_dir() and not ({".."} & set(tail.split("/"))):
            path = pathlib.Path(headers, tail)
        else:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with z.open(entry) as source, open(path, "wb") as to:
            shutil.copyfileobj(source, to)
PY
  done
  rm -rf "${headers:?}/$name"
  mkdir -p "$headers" "$libraries"
  for library in "$work"/libraries/*; do [ -e "$library" ] && mv -f "$library" "$libraries/"; done
  mv "$work/headers" "$headers/$name"
  echo "fetch-gpu: $headers/$name"
}

what=${1:-all} version=${2:-}
if [ "$what" != nccl ]; then
  [ -d "$headers/cuda12" ] || fetch cuda12 nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12
  [ -d "$headers/cuda13" ] || fetch cuda13 nvidia-cuda-runtime nvidia-cuda-crt
fi
if [ "$what" != cuda ]; then
  [ -z "$version" ] && [ -d "$headers/nccl" ] || fetch nccl "nvidia-nccl-cu12${version:+==$version}"
fi
