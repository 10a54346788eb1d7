"""OpenAI's Agents SDK for Python over chat completions: a function, which it makes `strict`, and its result."""

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from common import MODEL, URL, report, run
from openai import AsyncOpenAI


@function_tool
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


async def main():
    set_tracing_disabled(True)
    model = OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key="local"))
    agent = Agent(name="Assistant", instructions="Be brief.", model=model, tools=[get_weather])
    result = await Runner.run(agent, "what is the weather")
    report("call", said=result.final_output)


run(main)
