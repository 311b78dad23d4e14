"""U²PL on mmseg: Wang et al., "Semi-Supervised Semantic Segmentation Using Unreliable
Pseudo-Labels", CVPR 2022. Settings carry the names of the published configuration file.

    settings.py      the YAML file, typed
    augment.py       CutMix, ClassMix, CutOut
    losses.py        OHEM, entropy and its percentiles, the unsupervised loss
    memory_bank.py   negative keys, a ring per class on the device
    contrastive.py   anchors, negatives, the contrastive loss
    head.py          the published decoder
    pairs.py         one labeled and one unlabeled image a sample
    segmentor.py     student and teacher
    build.py         settings -> mmengine config
"""
