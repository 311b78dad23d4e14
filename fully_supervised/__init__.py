"""Fully-supervised track: any mmsegmentation model, baseline against +HL."""
