"""ONNX Runtime on one thread: `rival.py MODEL N` runs the image tower N times."""

import sys

import numpy
import onnxruntime

model, count = sys.argv[1], int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
picture = session.get_inputs()[0]
# A graph may leave every axis open; of the budgets' model they are these.
shape = [side if isinstance(side, int) else usual for side, usual in zip(picture.shape, (1, 3, 224, 224))]
pixels = numpy.random.default_rng(0).normal(size=shape).astype(numpy.float32)
for _ in range(count):
    output = session.run(None, {picture.name: pixels})
print(count, "frames on ONNX Runtime", onnxruntime.__version__, float(output[0].ravel()[0]))
