"""What plain flax puts around a train state, by its release and by what was handed to orbax: taken off.

```
raw_value          flax 0.8 keeps an NNX variable under `raw_value`, later releases under `value`
[0], [1], …        the tuple of nnx.split: the graphdef, which is stored as None, and states
model, step, opt_state   nnx.state(optimizer) of an optimizer that holds its model (0.8 to 0.10)
optimizer/model    the same beside the model itself: every weight stands twice
<name>/None        0.8 to 0.10.2: an absent bias is a variable that holds None
_pytree__state     a Module handed to orbax as it is; its lists are then sequences
<name>/value/[0]   values that a forward pass sowed
model/<Linen>, …   a TrainState under a key of a dict, with a configuration or data beside it
```
What is taken off is a drop by name; what is moved is remembered, so that a plan and its problems speak of the
paths on disk. The readers of the layouts see only what flax 0.12 itself would have written.
"""
