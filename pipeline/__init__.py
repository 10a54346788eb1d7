"""What a turn is made of: stages, their engines and the line that joins them.

Nothing in here knows of a network server or of a protocol; see docs/architecture.md.
"""

import os

# onnxruntime (1.31, official wheels) reports its use over the network unless this is set before it is imported, and
# `disable_telemetry_events()` comes too late. Nothing leaves the machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Read by huggingface_hub when it is imported: nobody is told what runs here, and files come from the hub itself, not
# through Xet, which asks further hosts and keeps logs.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
