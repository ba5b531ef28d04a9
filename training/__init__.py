"""Fine-tunes a checkpoint as a cross-encoder on BEIR folders: `python -m training --help`.

queries → mine → lists → loop: queries from judgments and from the documents themselves, hard
negatives from the first stage, lists scored by teachers, one listwise pass. `convert` unpacks an
int8 ONNX teacher.
"""
