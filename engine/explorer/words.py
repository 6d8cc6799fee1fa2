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
    regions: str
    one_region: str
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
    stage="Stage {number}: {regions}, windows of {window} local tokens",
    regions="{grid} regions",
    one_region="one region",
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

CHINESE = Words(
    title="RegionViT 探索页",
    introduction="选一张图片，再点击其中一个区域，看看模型在那里关注什么。",
    drop="把图片拖到这里（JPEG、PNG、WebP、BMP 或 GIF）",
    number="……或输入验证集图片的编号（0 到 {last}），按回车",
    no_number="没有验证集图片：{why}",
    picture="模型看到的图片：点击一个区域",
    region="区域：行,列，按回车",
    labeled="{name}，标签为 {label}",
    top="前五类",
    explained=(
        "<b>RSA</b>（区域自注意力）：每个区域的 token 从所有区域的 token 收集信息；"
        "某个区域越亮，框出的区域从它那里得到的就越多。",
        "<b>LSA</b>（局部自注意力）：一个区域的 token 与该区域内的局部 token 互相收集信息，不涉及区域之外。",
        "<b>Rollout</b>（注意力展开）把截至某个 stage 末尾的所有编码器的注意力连乘起来，"
        "估计每个像素对框出区域的 token 贡献了多少。",
    ),
    stage="Stage {number}：{regions}，每个窗口有 {window} 个局部 token",
    regions="{grid} 个区域",
    one_region="一个区域",
    encoder="编码器",
    head="注意力头",
    mean="平均",
    rsa="RSA：最关注区域 {most}（{most_share}），对自身 {own}",
    alone="RSA：只有一个区域，只能关注自身",
    regional="LSA，区域 token：对自身 {share}",
    local="LSA，局部 token 的平均：对区域 token {share}",
    rollout="Rollout：{inside} 来自区域之内",
    padding="，{share} 来自填充",
    even="均匀分布的 {times} 倍",
    compare="两个模型在各个 stage 的 rollout",
    empty="还没有图片。",
)

LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
