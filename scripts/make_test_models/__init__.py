"""Makes the small models that the tests run real engines on. Run `python -m scripts.make_test_models --help`."""
