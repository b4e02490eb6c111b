"""The pre-training half: MuonClip against Muon and AdamW, and experts balanced without an auxiliary loss."""
