"""What CMake has to know of a Python's torch: version, folder, Python's headers, suffix of extension modules."""
import os
import sysconfig

import torch

print(torch.__version__, os.path.dirname(torch.__file__), sysconfig.get_paths()["include"], sysconfig.get_config_var("EXT_SUFFIX"), sep=";")
