"""The results, as frozen dataclasses that are written to JSON and read from it. No torch is needed.

Each record is in the stub beside this file, and is loaded when it is first used: `critbatch.records.Run`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
