"""Pipecat with its service for OpenAI's realtime API, in a pipeline without a transport."""

import asyncio

from common import MODEL, RATE, SECONDS, WEBSOCKET_URL, Microphone, report, run
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

WATCHED = (ErrorFrame, InterruptionFrame, LLMFullResponseEndFrame, TTSAudioRawFrame)


class Watch(FrameProcessor):
    """Writes down the frames that pass, in either direction."""

    def __init__(self, seen):
        super().__init__()
        self._seen = seen

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, WATCHED):
            self._seen.append(frame)
        await self.push_frame(frame, direction)


async def get_weather(params):
    await params.result_callback(f"sunny in {params.arguments['city']}")


async def main():
    weather = FunctionSchema("get_weather", "Tells the weather of a city.", {"city": {"type": "string"}}, ["city"])
    context = LLMContext([{"role": "user", "content": "good morning"}], tools=ToolsSchema(standard_tools=[weather]))
    transcription = AudioConfiguration(input=AudioInput(transcription=InputAudioTranscription()))
    llm = OpenAIRealtimeLLMService(
        api_key="local",
        base_url=f"{WEBSOCKET_URL}/realtime",
        settings=OpenAIRealtimeLLMService.Settings(
            model=MODEL or "gpt-realtime",
            system_instruction="Be brief.",
            session_properties=SessionProperties(audio=transcription),
        ),
    )
    llm.register_function("get_weather", get_weather)
    pair, before, after = LLMContextAggregatorPair(context), [], []
    pipeline = Pipeline([Watch(before), pair.user(), llm, Watch(after), pair.assistant()])
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())

    def of(kind):
        return [frame for frame in (*before, *after) if isinstance(frame, kind)]

    def said(role="assistant"):
        return [m["content"] for m in context.get_messages() if m.get("role") == role and m.get("content")]

    def seen():
        return {
            "said": said(),
            "bytes": sum(len(frame.audio) for frame in of(TTSAudioRawFrame)),
            "interruptions": len(of(InterruptionFrame)),
            "problems": [frame.error for frame in of(ErrorFrame)],
        }

    async def until(holds):
        try:
            async with asyncio.timeout(SECONDS):
                while not holds():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            report("late", messages=[str(m) for m in context.get_messages()], **seen())
            raise

    async def write(text):
        # Behind the user's aggregator, which would take it for itself.
        await llm.queue_frame(LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True))

    await worker.queue_frame(LLMRunFrame())
    await until(lambda: any("good morning" in text for text in said()))
    report("text", **seen())

    await write("what is the weather")
    await until(lambda: any("result" in text for text in said()))
    report("call", **seen())

    async def send(sound):
        await worker.queue_frame(InputAudioRawFrame(sound, RATE, 1))

    microphone = Microphone(send)
    microphone.say("question")
    await until(lambda: any("your name" in text for text in said()))
    report("voice", **seen())

    so_far, interruptions = seen()["bytes"], seen()["interruptions"]
    await write("tell me a story")
    await until(lambda: seen()["bytes"] > so_far + RATE * 2)
    microphone.say("more")
    await until(lambda: seen()["interruptions"] > interruptions)
    await until(lambda: any("fine morning" in text for text in said()))
    report("interruption", **seen())
    await microphone.close()
    await worker.queue_frame(EndFrame())
    await asyncio.wait_for(running, SECONDS)
    report("closed", **seen())


run(main)
