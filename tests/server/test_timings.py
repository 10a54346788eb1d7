"""Where the time of a turn went: told to the client that asks for it, and to no other."""

import json

from server.timings import COUNTS, COUNTS_KEY, METADATA_KEY, STAGES, read_timings
from tests.fakes import USUAL, FakeModel, fake_line
from tests.server.test_session import connect, silence, voice
from tests.threads import until

ORDER = list(STAGES)


def timings_of(done) -> dict[str, float]:
    return json.loads(done["response"]["metadata"][METADATA_KEY])


async def test_a_spoken_turn_tells_all_its_stages_in_their_order():
    model = FakeModel(["Good morning."])
    async with connect(fake_line(llm=model), timings=True) as client:
        client.say(silence(500), voice(500), silence(200))
        await until(lambda: model.running == 0 and len(model.requests) == 1)  # the reply is held by now
        client.say(silence(500))
        told = timings_of(await client.wait_for("response.done"))
    assert set(told) == set(STAGES)
    assert told["prefill"] < told["voice"]
    for chain in (
        ["voice", "quiet", "words", "run", "begun", "first_token", "first_clause", "first_audio", "sent"],
        ["quiet", "committed", "created", "released", "sent"],
    ):
        moments = [told[name] for name in chain]
        assert moments == sorted(moments), told
    assert told["voice"] >= 0


def counts_of(done) -> dict[str, int]:
    return json.loads(done["response"]["metadata"][COUNTS_KEY])


async def test_it_tells_how_often_replies_were_held_in_vain_and_what_was_computed_ahead():
    model = FakeModel(["Good morning."])
    async with connect(fake_line(llm=model), timings=True) as client:
        client.say(silence(300), voice(300), silence(200))
        await until(lambda: model.running == 0 and len(model.requests) == 1)
        client.say(voice(300), silence(200))
        await until(lambda: model.running == 0 and len(model.requests) == 2)
        client.say(silence(500))
        counts = counts_of(await client.wait_for("response.done"))
        assert set(counts) == set(COUNTS)
        assert counts["abandoned"] == 1
        assert counts["prefills"] >= 2, "when the session began, and the user"
        assert (counts["input_tokens"], counts["cached_tokens"]) == (USUAL.input_tokens, USUAL.cached_tokens)
        client.say(voice(300), silence(200))
        await until(lambda: model.running == 0 and len(model.requests) == 3)
        client.say(silence(500))
        counts = counts_of(await client.wait_for("response.done", 2))
        assert (counts["abandoned"], counts["prefills"]) == (0, 1), "of this turn alone"


async def test_a_reply_asked_for_in_writing_counts_from_its_creation():
    async with connect(fake_line(llm=FakeModel(["Good morning."])), timings=True) as client:
        client.ask()
        told = timings_of(await client.wait_for("response.done"))
    assert told["created"] == 0
    assert {"run", "first_token", "first_clause", "first_audio", "sent"} <= set(told)
    assert not {"voice", "quiet", "committed"} & set(told)


async def test_each_turn_has_its_own():
    async with connect(fake_line(llm=FakeModel(["Good morning."])), timings=True) as client:
        client.say(silence(500), voice(500), silence(700))
        first = timings_of(await client.wait_for("response.done"))
        client.ask()
        second = timings_of(await client.wait_for("response.done", 2))
    assert "committed" in first
    assert "committed" not in second


async def test_what_the_client_wrote_into_the_metadata_stays():
    async with connect(fake_line(), timings=True) as client:
        client.send(type="response.create", response={"metadata": {"mine": "1"}})
        done = await client.wait_for("response.done")
    assert done["response"]["metadata"]["mine"] == "1"
    assert {METADATA_KEY, COUNTS_KEY} <= set(done["response"]["metadata"])


async def test_who_does_not_ask_is_not_told():
    async with connect(fake_line()) as client:
        client.ask()
        done = await client.wait_for("response.done")
    assert done["response"]["metadata"] is None


async def test_nothing_is_kept_of_responses_that_are_over():
    async with connect(fake_line(llm=FakeModel(["Good morning."])), timings=True) as client:
        for number in range(1, 4):
            client.say(silence(500), voice(500), silence(700))
            await client.wait_for("response.done", number)
        timings = client.session._timings
        assert timings is not None
        assert not timings._runs
        assert not timings._responses
        assert len(timings._arrivals) < 60


async def test_what_came_of_a_long_silence_is_forgotten_with_its_sound():
    async with connect(fake_line(), timings=True) as client:
        timings = client.session._timings
        assert timings is not None
        client.say(silence(10_000))
        await until(lambda: timings._ticks == 24 * 10_000 and len(timings._arrivals) < 100)  # of 500 frames


def test_what_is_no_timings_reads_as_none():
    assert read_timings(None) == {}
    assert read_timings("nonsense") == {}
    assert read_timings('{"sent": 12.5}') == {"sent": 12.5}
