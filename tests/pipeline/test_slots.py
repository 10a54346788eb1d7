"""Who works with an engine at a time: in which order, and who gives way."""

import asyncio

from pipeline.slots import Slots


class Reply:
    def __init__(self, is_held: bool = True) -> None:
        self.is_held = is_held
        self.asked = 0

    def give_way(self) -> None:
        self.asked += 1


async def turns() -> None:
    """Lets every task go on as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_held_reply_waits_behind_those_that_somebody_waits_for() -> None:
    slots, order = Slots(1), []

    async def use(name: str, reply: Reply) -> None:
        give_back = await slots.take(reply)
        order.append(name)
        give_back()

    first = await slots.take()
    tasks = [asyncio.create_task(use(name, Reply(name == "held"))) for name in ("held", "one", "two")]
    await turns()
    first()
    await asyncio.gather(*tasks)
    assert order == ["one", "two", "held"]


async def test_as_many_held_replies_are_asked_to_give_way_as_are_needed_the_newest_first() -> None:
    slots, held = Slots(3), [Reply(), Reply(), Reply()]
    give_back = [await slots.take(reply) for reply in held]
    waiting = asyncio.create_task(slots.take())
    await turns()
    assert [bool(reply.asked) for reply in held] == [False, False, True]
    give_back[2]()
    (await waiting)()
    assert [bool(reply.asked) for reply in held] == [False, False, True], "one place was enough"


async def test_nobody_is_asked_to_give_way_to_a_held_reply_or_while_there_is_room() -> None:
    slots, first = Slots(2), Reply()
    await slots.take(first)
    await slots.take()
    waiting = asyncio.create_task(slots.take(Reply()))
    await turns()
    assert not waiting.done()
    assert not first.asked
    waiting.cancel()


async def test_a_reply_that_is_released_while_it_waits_is_waited_for_from_then_on() -> None:
    slots, waiting, holding = Slots(1), Reply(), Reply()
    give_back = await slots.take(holding)
    task = asyncio.create_task(slots.take(waiting))
    await turns()
    assert not holding.asked
    waiting.is_held = False
    slots.look_again()
    assert holding.asked
    give_back()
    (await task)()


async def test_looking_for_room_takes_none() -> None:
    slots, reply = Slots(1), Reply()
    give_back = await slots.take()
    looking = asyncio.create_task(slots.room(reply))
    await turns()
    assert not looking.done()
    give_back()
    await looking
    assert not slots.is_full


async def test_who_is_released_need_not_look_for_room_any_more() -> None:
    slots, reply = Slots(1), Reply()
    await slots.take()
    looking = asyncio.create_task(slots.room(reply))
    await turns()
    reply.is_held = False
    slots.look_again()
    await looking
    await slots.room(reply)


async def test_what_is_counted_fills_the_slots_without_waiting() -> None:
    slots = Slots(1)
    first, second = slots.count(), slots.count()
    assert slots.is_full
    first()
    first()
    assert slots.is_full
    second()
    assert not slots.is_full


async def test_without_a_count_nobody_waits() -> None:
    slots = Slots(None)
    for _ in range(100):
        await slots.take(Reply())
    assert not slots.is_full


async def test_who_is_cancelled_while_waiting_leaves_no_trace() -> None:
    slots = Slots(1)
    give_back = await slots.take()
    waiting = asyncio.create_task(slots.take())
    await turns()
    waiting.cancel()
    give_back()  # at the same moment
    await asyncio.wait((waiting,))
    assert not slots.is_full
    (await slots.take())()
