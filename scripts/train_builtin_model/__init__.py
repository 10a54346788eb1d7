"""Makes Parley's built-in language model from nothing: dialogues, tokenizer, training, export, evaluation.

Run `python -m scripts.train_builtin_model --help`. The data are text files that people can read and add to:
`data/*.txt` holds intents (what a user may say, what Parley answers), `data/*.tsv` holds tables of facts.
"""
