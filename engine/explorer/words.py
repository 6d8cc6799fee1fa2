"""The words of the explorer's page, in each language it speaks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A page's words; braces are filled in by `str.format`."""

    title: str
    introduction: str
    drop: str
    number: str
    no_number: str
    picture: str
    region: str
    labeled: str
    top: str
    explained: tuple[str, str, str]
    stage: str
    encoder: str
    head: str
    mean: str
    rsa: str
    alone: str
    regional: str
    local: str
    rollout: str
    padding: str
    even: str
    compare: str
    empty: str


ENGLISH = Words(
    title="RegionViT explorer",
    introduction="Choose a picture, then click a region in it to see what the model attends to there.",
    drop="Drop a picture here (JPEG, PNG, WebP, BMP or GIF)",
    number="... or a validation picture, 0 to {last}, and Enter",
    no_number="No validation pictures: {why}",
    picture="The picture as the model gets it: click a region",
    region="Region: row,column, and Enter",
    labeled="{name}, labeled {label}",
    top="Top five",
    explained=(
        "<b>RSA</b>, regional self-attention: the token of each region gathers from the tokens of all regions; the "
        "brighter a region, the more the outlined one takes from it.",
        "<b>LSA</b>, local self-attention: the token of a region and the local tokens inside it gather from each "
        "other, and from nothing outside.",
        "<b>Rollout</b> multiplies the attention of all encoders up to the end of a stage: an estimate of how much "
        "each pixel has contributed to the token of the outlined region.",
    ),
    stage="Stage {number}: {regions} regions, windows of {window} local tokens",
    encoder="Encoder",
    head="Head",
    mean="mean",
    rsa="RSA: most on region {most} ({most_share}), {own} on itself",
    alone="RSA: there is one region, which can only attend to itself",
    regional="LSA, regional token: {share} on itself",
    local="LSA, mean local token: {share} on the regional token",
    rollout="Rollout: {inside} from inside the region",
    padding=", {share} from padding",
    even="{times} x even",
    compare="Rollout of both models, stage by stage",
    empty="No picture yet.",
)
