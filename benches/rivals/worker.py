"""One runtime in a process of its own, which run.py talks to.

    python worker.py onnxruntime|executorch MODEL PIXELS THREADS

It loads the model once, then answers each line of standard input with a JSON list:
`run N` with the times of N frames in milliseconds, `embed` with the embedding.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from variants import IMAGE_SIZE

Encode = Callable[[], np.ndarray]


def onnxruntime_encoder(model: Path, pixels: np.ndarray, threads: int) -> Encode:
    """A session as it comes: all graph optimisations, and its threads spin for a while after a run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixel_values": pixels})[0]


def executorch_encoder(model: Path, pixels: np.ndarray, threads: int) -> Encode:
    """The method `forward` of a program. Its Python interface has no better way to set the threads, hence the private names."""
    import torch
    from executorch.extension.pybindings._C import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(model).load_method("forward")
    inputs = [torch.from_numpy(pixels)]
    return lambda: method.execute(inputs)[0].numpy()


ENCODERS = {"onnxruntime": onnxruntime_encoder, "executorch": executorch_encoder}


def milliseconds(encode: Encode) -> float:
    """Of one frame."""
    begun = time.perf_counter()
    encode()
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    runtime, model, pixels, threads = sys.argv[1:]
    values = np.fromfile(pixels, "<f4").reshape(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    encode = ENCODERS[runtime](Path(model), values, int(threads))
    for line in sys.stdin:
        match line.split():
            case ["run", frames]:
                answer = [milliseconds(encode) for _ in range(int(frames))]
            case ["embed"]:
                answer = encode().ravel().tolist()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
