"""The same under AdamW, where alpha cancels and the rate alone decides what the HL branch gets.

bash domain_gen/run_all.sh --source camvid:day --config deeplabv3plus_lite0-adamw --data-root DIR
"""

_base_ = "deeplabv3plus_lite0.py"

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-4, weight_decay=0.01),
    # The heads at ten times the rate; the branch at half of that: a dose of 1.2 over 1,500
    # iterations, as the paper's over 40,000.
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0), hl_head=dict(lr_mult=5.0))),
)
