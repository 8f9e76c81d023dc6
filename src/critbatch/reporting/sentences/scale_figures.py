"""Tiles, tables and figures of more devices, in words."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

SCALE_FIGURES = {
    "hero_note_scale": Sentence(
        en="Lower is sooner. The dashed line is ideal: twice the devices, half the time. Bars are intervals of steps.",
        zh="越低越快。虚线是理想情况：设备加倍，时间减半。竖线是步数的区间。",
    ),
    "tile_devices": Sentence(en="Devices worth it", zh="值得的设备数"),
    "tile_speed_up": Sentence(en="Speed-up", zh="加速"),
    "tile_efficiency": Sentence(en="efficiency {share}", zh="效率 {share}"),
    "tile_device_hours": Sentence(en="Device-hours", zh="设备小时"),
    "tile_one_device": Sentence(en="one device: {value}", zh="单个设备：{value}"),
    "column_share": Sentence(en="Examples in a pass", zh="每遍的样本数"),
    "column_communication": Sentence(en="Communication", zh="通信"),
    "column_speed_up": Sentence(en="Speed-up", zh="加速"),
    "column_efficiency": Sentence(en="Efficiency", zh="效率"),
    "column_device_hours": Sentence(en="Device-hours", zh="设备小时"),
    "column_cost": Sentence(en="Cost", zh="费用"),
    "mark_worth": Sentence(en="worth it to here", zh="到此值得"),
    "passes": Sentence(en="{n} passes", zh="{n} 遍"),
    "axis_devices": Sentence(en="Devices", zh="设备数"),
    "axis_sync": Sentence(en="Time to sum the gradients", zh="梯度求和的时间"),
    "axis_efficiency": Sentence(en="Efficiency", zh="效率"),
    "title_scale": Sentence(
        en="Time to target against devices: {first} at {low}, {last} at {high}",
        zh="达到目标的时间与设备数：{low} 个时 {first}，{high} 个时 {last}",
    ),
    "title_scale_parts": Sentence(
        en="A step on {high} devices: {share} of it is communication", zh="{high} 个设备上的一步：{share} 是通信"
    ),
    "title_sync": Sentence(
        en="Summing gradients over {high} devices: {ring} round a ring, {doubling} by halving and doubling",
        zh="{high} 个设备的梯度求和：环形 {ring}，折半倍增 {doubling}",
    ),
    "title_efficiency": Sentence(
        en="On {high} devices, efficiency is {weak} with a share of {share} each, {strong} with {size} in all",
        zh="{high} 个设备上的效率：每个设备 {share} 个样本时 {weak}，总共 {size} 个样本时 {strong}",
    ),
    "legend_ideal": Sentence(en="ideal: half the time", zh="理想：时间减半"),
    "legend_scale_time": Sentence(en="at the best batch size", zh="最好的批次大小"),
    "legend_compute": Sentence(en="computing", zh="计算"),
    "legend_communication": Sentence(en="communication, not hidden", zh="未被掩盖的通信"),
    "legend_slowdown": Sentence(en="slower passes", zh="变慢的遍"),
    "legend_waiting": Sentence(en="joining and waiting", zh="汇合与等待"),
    "legend_strong": Sentence(en="strong: {size} in all", zh="强扩展：总共 {size}"),
    "legend_weak": Sentence(en="weak: {share} each", zh="弱扩展：每个 {share}"),
    "label_worth": Sentence(en="worth it to {n}", zh="到 {n} 值得"),
    "hover_devices": Sentence(en="Devices: {n}", zh="设备数：{n}"),
    "hover_scale_step": Sentence(en="Time per step: {seconds}", zh="每步时间：{seconds}"),
    "hover_speed_up": Sentence(en="Speed-up {times}, efficiency {share}", zh="加速 {times}，效率 {share}"),
    "hover_hours": Sentence(en="Device-hours: {hours}", zh="设备小时：{hours}"),
    "alt_scale": Sentence(
        en="Chart of time to target against devices, on logarithmic axes: {first} on {low}, {last} on {high}.",
        zh="达到目标的时间随设备数变化的对数坐标图：{low} 个设备 {first}，{high} 个设备 {last}。",
    ),
    "alt_scale_parts": Sentence(
        en="Bars of a step's time on {low} to {high} devices, split into computing, communication, and joining and "
        "waiting.",
        zh="{low} 至 {high} 个设备上每步时间的条形图，分为计算、通信、汇合与等待。",
    ),
    "alt_sync": Sentence(
        en="Chart of the time to sum gradients on {low} to {high} devices: at last {ring} round a ring, {doubling} by "
        "halving and doubling.",
        zh="{low} 至 {high} 个设备梯度求和时间图：最后环形 {ring}，折半倍增 {doubling}。",
    ),
    "alt_efficiency": Sentence(
        en="Chart of efficiency on {low} to {high} devices: weak scaling ends at {weak}, strong scaling at {strong}.",
        zh="{low} 至 {high} 个设备的效率图：弱扩展最后为 {weak}，强扩展为 {strong}。",
    ),
}
