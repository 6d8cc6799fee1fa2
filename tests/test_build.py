"""Every value of a config arrives where it belongs."""

from pathlib import Path

import archives
import pytest

from data import download as downloading
from engine import build, config as configs

MICRO = Path(__file__).parents[1] / "configs" / "micro_cifar10.yaml"


def test_the_model_gets_the_configs_values():
    rates = ["model.drop_rate=0.1", "model.attn_drop_rate=0.2", "model.drop_path_rate=0.3"]
    config = configs.load(MICRO, ["model.num_classes=7", "model.padding_mask=exact", *rates])
    model = build.build_model(config)
    last = model.layers[-1].block[-1]
    assert model.head.weight.shape[1] == model.num_classes == 7
    assert model.layers[0].padding_mask == "exact"
    assert (model.pos_drop.p, last.mlp.drop.p, last.attn.proj_drop.p) == (0.1, 0.1, 0.1)
    assert last.attn.attn_drop.p == 0.2
    assert last.drop_path.rate == pytest.approx(0.3)


def test_the_loss_gets_the_configs_smoothing():
    assert build.build_criterion(configs.load(MICRO, ["loss.label_smoothing=0.3"])).smoothing == 0.3


def test_the_loaders_get_the_configs_values(tmp_path):
    archive = archives.write(tmp_path / "a.tar.gz", archives.members(train=50, test=9))
    values = ["data.batch_size=7", "data.num_workers=3", "data.image_size=40", "train.seed=5", "data.holdout=8"]
    config = configs.load(MICRO, [f"data.file={archive}", *values])
    dataset = build.build_dataset(config)
    train, val = build.build_train_loader(config, dataset), build.build_val_loader(config, dataset)
    assert (len(dataset.train), len(dataset.val)) == (42, 8)
    assert train.batch_sampler.batch_size == val.batch_sampler.batch_size == 7
    assert train.num_workers == val.num_workers == 3
    assert train.dataset.seed == train.batch_sampler.seed == 5
    assert train.dataset[0, 0][0].shape == val.dataset[0][0].shape == (3, 40, 40)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_archive_is_downloaded_if_the_config_says_so(tmp_path, monkeypatch, wanted):
    import functools
    import http.server
    import threading

    archive = archives.write(tmp_path / "served.tar.gz", archives.members(train=20, test=5))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    config = configs.load(MICRO, [f"data.file={tmp_path / 'new' / 'a.tar.gz'}", f"data.download={wanted}"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(downloading, "ADDRESSES", [f"http://127.0.0.1:{server.server_port}/served.tar.gz"])
        monkeypatch.setattr(downloading, "MD5", downloading.md5sum(archive))
        if wanted:
            assert len(build.build_dataset(config).train) == 20
        else:
            with pytest.raises(build.UserError, match="not found"):
                build.build_dataset(config)
        server.shutdown()
