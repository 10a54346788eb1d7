import openai
import pytest

from tests.rest.conftest import Api


async def test_the_loaded_pipelines_and_their_names_are_listed(api: Api) -> None:
    listed = {model.id: model async for model in api.client.models.list()}
    assert set(listed) == {"mini", "whisper-1"}  # not what is not loaded, and no patterns
    mini = listed["mini"].model_dump()
    assert (mini["object"], mini["owned_by"], mini["default"]) == ("model", "parley", True)
    assert mini["aliases"] == ["gpt-4*", "whisper-1"]
    assert listed["whisper-1"].model_dump()["pipeline"] == "mini"


async def test_a_model_says_what_it_can_do(api: Api) -> None:
    able = (await api.client.models.retrieve("gpt-4o")).model_dump()["capabilities"]
    assert able["realtime"]["output_formats"][0] == {"type": "audio/pcm", "rate": 24000}
    assert able["realtime"]["turn_detection"] == ["server_vad", "semantic_vad"]
    assert (able["realtime"]["speculation"], able["realtime"]["prefill"]) == (True, True)
    assert able["transcription"]["languages"] == ["en"]
    assert able["transcription"]["word_times"] is False
    assert (able["llm"]["context"], able["llm"]["tools"], able["llm"]["vision"]) == (4096, False, False)
    assert able["llm"]["settings"] == ["temperature"]
    assert {"one", "two", "alloy", "nova"} <= set(able["speech"]["voices"])
    assert (able["speech"]["default_voice"], able["speech"]["speeds"]) == ("one", [0.5, 1.5])
    assert able["speech"]["formats"] == ["mp3", "opus", "aac", "flac", "wav", "pcm"]


async def test_a_model_that_there_is_not_is_not_found(api: Api) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await api.client.models.retrieve("some/thing")
    assert refused.value.code == "model_not_found"
