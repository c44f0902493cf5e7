"""Builds the extension with libcoll's own CMake project, two folders up, and puts libcoll.so beside it."""

import os
import pathlib
import re
import subprocess
import sys

import torch
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TORCH_MINOR = ".".join(torch.__version__.split(".")[:2])
VERSION = re.search(r"project\(libcoll VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)


class CMakeBuild(build_ext):
    def build_extension(self, ext):
        build = ROOT / "build" / "wheel"  # not below our sources, which a test reads
        place = pathlib.Path(self.get_ext_fullpath(ext.name)).resolve().parents[1]
        off = [f"-DLIBCOLL_BUILD_{part}=OFF" for part in ("TESTS", "BENCHMARKS", "EXAMPLES", "INTERPOSER")]
        subprocess.check_call(["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DLIBCOLL_BUILD_TORCH=ON",
                               f"-DLIBCOLL_TORCH_PYTHON={sys.executable}", *off])
        subprocess.check_call(["cmake", "--build", str(build), "--target", "coll_torch", "--parallel", str(len(os.sched_getaffinity(0)))])
        subprocess.check_call(["cmake", "--install", str(build), "--component", "torch", "--prefix", str(place)])


setup(
    version=f"{VERSION}+torch{TORCH_MINOR}",
    install_requires=[f"torch=={TORCH_MINOR}.*"],
    ext_modules=[Extension("libcoll_torch._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
