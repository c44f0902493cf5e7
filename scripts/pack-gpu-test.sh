#!/usr/bin/env bash
# Packs device_gpu with the shared libraries that it needs, for a GPU machine that can neither build nor install anything:
# build/device_gpu.tar.gz, a few MB. There: tar xzf device_gpu.tar.gz && device_gpu/run.sh --ranks 2 (CUDA's driver is that
# machine's; LIBCOLL_CUDA_LIBRARY and LIBCOLL_NCCL_LIBRARY name its runtime and NCCL where they are in no standard place).
# Usage: scripts/pack-gpu-test.sh
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/release/bin/device_gpu
[ -x "$program" ] || { echo "pack-gpu-test: build it first: cmake --build --preset release --target device_gpu" >&2; exit 1; }
pack=$(mktemp -d)
trap 'rm -rf "$pack"' EXIT
mkdir -p "$pack/device_gpu/lib"
cp "$program" "$pack/device_gpu/"
strip "$pack/device_gpu/device_gpu"
# Not the C library, which belongs to that machine's loader: it must be as new as this one's.
ldd "$program" | awk '$2 == "=>" && $1 !~ /^(libc|libm|libdl|librt|libpthread)\.so/ {print $3}' | xargs -I{} cp -L {} "$pack/device_gpu/lib/"
cat >"$pack/device_gpu/run.sh" <<'RUN'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$here/device_gpu" "$@"
RUN
chmod +x "$pack/device_gpu/run.sh"
tar -C "$pack" -czf build/device_gpu.tar.gz device_gpu
echo "pack-gpu-test: build/device_gpu.tar.gz, $(du -h build/device_gpu.tar.gz | cut -f1)"
