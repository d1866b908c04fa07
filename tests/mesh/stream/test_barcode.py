import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mesh.stream import barcode

HEIGHT, WIDTH = 32, 400


def stamped(frame_id: int, background: int = 90) -> np.ndarray:
    picture = np.full((HEIGHT * 3 // 2, WIDTH), background, np.uint8)
    barcode.stamp(picture, frame_id)
    return picture


@given(frame_id=st.integers(0, 2**40), noise=st.integers(0, 100))
def test_what_is_stamped_is_read_modulo_two_to_the_twenty(frame_id, noise):
    luma = stamped(frame_id)[:HEIGHT].astype(int)
    luma += np.random.default_rng(noise).integers(-noise, noise + 1, luma.shape)
    assert barcode.read(luma.clip(0, 255).astype(np.uint8)) == frame_id % 2**20


def test_cells_are_laid_out_as_the_protocol_says():
    picture = stamped(0b1011 | 0b0110 << 4)  # check nibble 0b1101
    cells = [int(picture[8, 16 * i + 8]) for i in range(24)]
    white = {i for i, luma in enumerate(cells) if luma == 235}
    assert white == {0, 1, 3, 5, 6, 20, 22, 23}
    assert set(cells) == {16, 235}


def test_only_the_cells_are_touched_and_their_chroma_is_neutral():
    picture = stamped(5)
    assert (picture[16:HEIGHT] == 90).all()
    assert (picture[:16, 384:] == 90).all()
    chroma = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    assert (chroma[:, :8, :192] == 128).all()
    assert (chroma[:, 8:] == 90).all()
    assert (chroma[:, :, 192:] == 90).all()


@given(frame_id=st.integers(0, 2**20 - 1), cell=st.integers(0, 23))
def test_one_wrong_cell_is_noticed(frame_id, cell):
    luma = stamped(frame_id)[:HEIGHT]
    luma[:16, 16 * cell : 16 * cell + 16] = 251 - luma[8, 16 * cell + 8]
    assert barcode.read(luma) is None


def test_a_picture_too_small_for_it_holds_no_barcode():
    assert barcode.read(np.zeros((16, 383), np.uint8)) is None
