"""Run while the image is built: compile what bearerd imports, into $PYTHONPYCACHEPREFIX.

Every module of bearerd is imported; what that brings in, of the packages and of the standard library, is compiled. The
rest of both would be as much again.
"""

import importlib
import pkgutil
import py_compile
import sys

import proxy

for module in pkgutil.walk_packages(proxy.__path__, "proxy."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for imported in list(sys.modules.values()):
    source = getattr(imported, "__file__", None)
    if source is not None and source.endswith(".py") and imported.__name__ != "__main__":
        py_compile.compile(source, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True)
