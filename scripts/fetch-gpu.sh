#!/usr/bin/env bash
# Fetches from PyPI what a machine without CUDA and NCCL lacks: headers for the target nccl_abi_check (build/gpu-headers), and
# the libraries that libcoll opens at run time (build/gpu-libraries). Nothing of it goes into git; libcoll is built without.
# Usage: scripts/fetch-gpu.sh [headers | cuda | nccl [VERSION]]
#   cuda     CUDA 12 and 13: 47 MB
#   nccl     NCCL for CUDA 12: 200 to 350 MB
#   headers  cuda, and of NCCL's package the header alone, by ranges of HTTP
#   else cuda and nccl
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

fetch_nccl_header() {  # out of the newest package for this machine, without the rest of it
  mkdir -p "$work/nccl"
  python3 - "$work/nccl" <<'PY'
import io, json, pathlib, platform, sys, urllib.request, zipfile

def get(url, **headers):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)

class Remote(io.RawIOBase):
    def __init__(self, url, size):
        self.url, self.size, self.at = url, size, 0
    def seekable(self):
        return True
    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at
    def tell(self):
        return self.at
    def read(self, n=-1):
        end = self.size if n < 0 else min(self.size, self.at + n)
        if end == self.at:
            return b""
        with get(self.url, Range=f"bytes={self.at}-{end - 1}") as answer:
            if answer.status != 206:
                sys.exit("fetch-gpu: the package index does not serve ranges")
            data = answer.read()
        self.at += len(data)
        return data

with get("https://pypi.org/simple/nvidia-nccl-cu12/", Accept="application/vnd.pypi.simple.v1+json") as page:
    files = json.load(page)["files"]
wheels = [f for f in files if f["filename"].endswith(f"_{platform.machine()}.whl") and not f.get("yanked")]
newest = max(wheels, key=lambda f: f["upload-time"])
with zipfile.ZipFile(Remote(newest["url"], newest["size"])) as z:
    for entry in z.namelist():
        if "/include/" in entry and entry.endswith("/nccl.h"):
            pathlib.Path(sys.argv[1], "nccl.h").write_bytes(z.read(entry))
            break
    else:
        sys.exit("fetch-gpu: no nccl.h in " + newest["filename"])
print("fetch-gpu: nccl.h of", newest["filename"])
PY
  mkdir -p "$headers"
  rm -rf "$headers/nccl"
  mv "$work/nccl" "$headers/nccl"
}

what=${1:-all} version=${2:-}
if [ "$what" != nccl ]; then
  [ -d "$headers/cuda12" ] || fetch cuda12 nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12
  [ -d "$headers/cuda13" ] || fetch cuda13 nvidia-cuda-runtime nvidia-cuda-crt
fi
if [ "$what" = headers ]; then
  [ -d "$headers/nccl" ] || fetch_nccl_header
elif [ "$what" != cuda ]; then
  [ -z "$version" ] && [ -d "$headers/nccl" ] && [ -e "$libraries/libnccl.so.2" ] || fetch nccl "nvidia-nccl-cu12${version:+==$version}"
fi
