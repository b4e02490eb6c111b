"""Videos that are written here are read back; each kind of bad file is refused in a line that names it."""

from fractions import Fraction

import numpy as np
import pytest

from tenfold.core.errors import UserError
from tenfold.data.video.files import read_video, resized, video_files

av = pytest.importorskip("av", reason="needs PyAV: pip install 'tenfold[video]'")


def write_video(path, frames, times=None, codec="mpeg4", rate=25):
    """Frames [N, h, w, 3] at times on a grid of milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = round(1000 * (number / rate if times is None else times[number]))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey(levels, height=48, width=64):
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


def test_a_video_is_read_with_its_real_times_and_a_square_of_its_pixels(tmp_path):
    times = [0.0, 0.04, 0.12, 0.2, 0.5]
    path = write_video(tmp_path / "uneven.mkv", grey([20, 60, 100, 140, 180]), times)
    video = read_video(path, 32)
    assert video.frames.shape == (5, 3, 32, 32) and len(video) == 5
    assert np.allclose(video.times - video.times[0], times, atol=0.002)
    assert np.allclose(video.frames.mean((1, 2, 3)), [20, 60, 100, 140, 180], atol=4)
    assert len(read_video(path, 32, most_frames=3)) == 3


def test_videos_of_a_folder_come_by_name(tmp_path):
    for name in ("b.mkv", "a.mkv"):
        write_video(tmp_path / name, grey([0, 10]))
    (tmp_path / "note.txt").write_text("no video")
    assert [path.name for path in video_files(tmp_path)] == ["a.mkv", "b.mkv"]
    assert video_files(tmp_path / "a.mkv") == [tmp_path / "a.mkv"]


def test_what_cannot_be_decoded_is_refused(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"this is no video" * 100)
    with pytest.raises(UserError, match=r"broken.mp4: cannot be decoded as a video"):
        read_video(path, 32)


def test_a_video_of_one_frame_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"one.mkv: a video of 1 frame"):
        read_video(write_video(tmp_path / "one.mkv", grey([9])), 32)


class FakeContainer:
    """Stands for a file whose frames are given, where no writer makes such a file."""

    def __init__(self, frames):
        self.frames, self.streams = frames, type("Streams", (), {"video": [0]})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def decode(self, video):
        return iter(self.frames)


def fake_frame(height, pts):
    frame = av.VideoFrame.from_ndarray(np.zeros((height, 64, 3), np.uint8), format="rgb24")
    frame.pts, frame.time_base = pts, Fraction(1, 25)
    return frame


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([(48, 0), (32, 1)], "frame 1 has 64x32 pixels, those before 64x48"),
        ([(48, None), (48, None)], "some frames have none"),
        ([(48, 3), (48, 3)], "frame 1 is at 0.12 s, not after the one before"),
    ],
)
def test_changing_sizes_and_missing_times_are_refused(tmp_path, monkeypatch, frames, message):
    monkeypatch.setattr(av, "open", lambda path: FakeContainer([fake_frame(*frame) for frame in frames]))
    with pytest.raises(UserError, match=f"clip.avi: .*{message}"):
        read_video(tmp_path / "clip.avi", 32)


def test_folders_without_videos_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no video"):
        video_files(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        video_files(tmp_path / "nowhere")


def test_resizing_averages():
    frames = np.zeros((1, 3, 8, 8), np.uint8)
    frames[..., ::2] = 200
    assert np.abs(resized(frames, 2).astype(int) - 100).max() <= 20
