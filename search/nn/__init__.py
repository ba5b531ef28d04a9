"""What both models share: folders, tokens, batches, devices, and the padded forward pass.

`folder`, `tokens` and `batches` are free of torch; import `device`, `loading` and `runner` only
where a model is about to run.
"""
