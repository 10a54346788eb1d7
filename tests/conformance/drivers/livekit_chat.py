"""LiveKit's plugin for OpenAI over chat completions: a function, which it makes `strict`."""

from common import MODEL, URL, report, run
from livekit.agents import function_tool, llm
from livekit.plugins import openai


@function_tool
async def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


async def main():
    model = openai.LLM(model=MODEL, base_url=URL, api_key="local")
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="what is the weather")
    calls = []
    async with model.chat(chat_ctx=context, tools=[get_weather]) as stream:
        async for chunk in stream:
            if chunk.delta is not None:
                calls += [(call.name, call.arguments) for call in chunk.delta.tool_calls]
    report("call", calls=calls)
    await model.aclose()


run(main)
