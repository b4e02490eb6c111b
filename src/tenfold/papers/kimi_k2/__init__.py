"""Kimi K2, its pre-training half: MuonClip and balanced experts, against AdamW and Muon without the clip."""
