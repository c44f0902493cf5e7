#!/usr/bin/env bash
# Fetches the headers of CUDA 12, CUDA 13 and NCCL from their PyPI packages into build/gpu-headers, for the target
# nccl_abi_check. They never go into git, and libcoll is built without them. The NCCL package is 200 to 350 MB.
# Usage: scripts/fetch-gpu-headers.sh [NCCL version, e.g. 2.28.9; default: the newest]
set -euo pipefail
cd "$(dirname "$0")/.."
to=build/gpu-headers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() {  # name packages...: all headers of the packages, under $to/name
  local name=$1; shift
  rm -rf "$work/wheels" "$work/headers"
  mkdir -p "$work/wheels" "$work/headers"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work/wheels" "$@"
  for wheel in "$work"/wheels/*.whl; do python3 - "$wheel" "$work/headers" <<'PY'
import pathlib, sys, zipfile
wheel, to = sys.argv[1:]
for entry in zipfile.ZipFile(wheel).infolist():
    head, mark, tail = entry.filename.partition("/include/")
    if mark and not entry.is_dir() and not ({".."} & set(tail.split("/"))):
        path = pathlib.Path(to, tail)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zipfile.ZipFile(wheel).read(entry))
PY
  done
  rm -rf "${to:?}/$name"
  mkdir -p "$to"
  mv "$work/headers" "$to/$name"
  echo "fetch-gpu-headers: $to/$name"
}

fetch cuda12 nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12
fetch cuda13 nvidia-cuda-runtime nvidia-cuda-crt
fetch nccl "nvidia-nccl-cu12${1:+==$1}"
