"""The stages over HTTP, in the shape of OpenAI's API: models, transcription, speech, chat completions."""
