"""The same under AdamW, where alpha cancels and the rate alone decides what the HL branch gets. It
has a schedule of its own, that of camvid:day.

bash domain_gen/run_all.sh --source camvid:day --config deeplabv3plus_lite0-adamw --data-root DIR
"""

_base_ = "deeplabv3plus_lite0.py"

train_cfg = dict(max_iters=1000, val_interval=250)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=1000, by_epoch=False),
]
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-4, weight_decay=0.01),
    # The heads at ten times the rate; the branch below that: a dose of 1.1, the paper's is 1.2.
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0), hl_head=dict(lr_mult=7.0))),
)
