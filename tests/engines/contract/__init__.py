"""The contract that every engine keeps, as tests: `test_common.py` for all, and a module for each stage.

Each test runs for each `Case` of its stage in cases.py. To try an engine of your own, write its cases into a module
that Python finds, such as

    CASES = [SynthesisCase(stage="tts", engine="morse", block=lambda place: {"hertz": 700}, repeatable=True)]

and run `pytest tests/engines/contract --cases that_module` in a checkout of Parley into whose environment the engine is
installed. What a case can say of an engine: case.py.
"""
