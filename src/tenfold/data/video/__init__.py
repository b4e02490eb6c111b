"""Videos: generated worlds, files of a user's own, recorded episodes, and which frames a clip takes.

Only numpy is imported; PyAV, h5py and torch are by the functions that read files.
"""

from tenfold.data.video.arenas import Arenas, mazes, walls_with_doors, wandering
from tenfold.data.video.balls import Balls, BallWorld, ball_videos, event_pairs, real_times
from tenfold.data.video.episodes import Episode, read_dino_wm, read_stable_worldmodel
from tenfold.data.video.files import Video, read_video, resized, video_files
from tenfold.data.video.sampling import CropBox, Gaps, centre_square, random_crop, sample_frames

__all__ = [
    "Arenas",
    "BallWorld",
    "Balls",
    "CropBox",
    "Episode",
    "Gaps",
    "Video",
    "ball_videos",
    "centre_square",
    "event_pairs",
    "mazes",
    "random_crop",
    "read_dino_wm",
    "read_stable_worldmodel",
    "read_video",
    "real_times",
    "resized",
    "sample_frames",
    "video_files",
    "walls_with_doors",
    "wandering",
]
