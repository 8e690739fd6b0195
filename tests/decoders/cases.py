"""Which decoders are asked, and with which flags: small ones of every family that MaxText has."""

from dataclasses import dataclass

_MOE = "num_experts=3 num_experts_per_tok=2 base_moe_mlp_dim=24"
_LINEAR = (
    "gdn_conv_kernel_dim=4 gdn_key_head_dim=9 gdn_value_head_dim=11 gdn_num_key_heads=2 "
    "gdn_num_value_heads=4 gdn_chunk_size=4 partial_rotary_factor=0.25 shared_experts=1"
)
_MLA = (
    "attention_type=mla base_num_kv_heads=6 q_lora_rank=7 kv_lora_rank=9 qk_nope_head_dim=10 "
    "qk_rope_head_dim=4 v_head_dim=11"
)
_DEEPSEEK = f"decoder_block=deepseek {_MOE} {_MLA} shared_experts=1 first_num_dense_layers=2 routed_bias=true"
_DEEPSEEK4 = (
    "decoder_block=deepseek4 base_num_decoder_layers=7 mhc_expansion_rate=4 first_num_hash_layers=3 "
    "indexer_head_dim=16 indexer_n_heads=2 indexer_topk=4 compress_ratios=[0,0,4,128,4,128,4] "
    "mlp_activations_limit=10 routed_score_func=sqrtsoftplus shared_experts=1 attention_type=compressed "
    "use_indexer=false q_lora_rank=9 o_groups=2 o_lora_rank=11 sliding_window_size=8 qk_rope_head_dim=4 "
    f"base_num_kv_heads=1 base_num_query_heads=4 load_balance_loss_weight=0.0001 {_MOE}"
)
_OF_MODEL = "override_model_config=true model_name"
"""DeepSeek's gate bias is of another kind where a model is named."""
_NORMS = "use_post_attn_norm=true use_post_ffw_norm=true"
_GEMMA4 = (
    f"{_NORMS} global_head_dim=16 global_rope_proportion=0.25 local_rope_proportion=1.0 "
    "global_num_kv_heads=3 share_kv_projections=true v_norm_with_scale=false"
)
_GEMMA3 = f"model_name=gemma3-4b override_model_config=true decoder_block=gemma3 {_NORMS}"
_TOWER = (
    "hidden_size_for_vit=12 intermediate_size_for_vit=10 num_attention_heads_for_vit=2 "
    "num_hidden_layers_for_vit=3"
)
_QWEN3_NEXT = f"decoder_block=qwen3_next inhomogeneous_layer_cycle_interval=4 {_MOE} {_LINEAR}"
_PIPELINE = "base_num_decoder_layers=8 ici_pipeline_parallelism=2 per_device_batch_size=2"
_CYCLE = "base_num_decoder_layers=8 inhomogeneous_layer_cycle_interval=4"


@dataclass(frozen=True)
class Case:
    """A decoder by its flags; what is not said is as in `ALL`."""

    name: str
    flags: str


ALL = (
    "run_name=decoders base_output_directory=decoders "
    "base_emb_dim=16 base_num_decoder_layers=5 base_num_query_heads=6 base_num_kv_heads=2 head_dim=8 "
    "base_mlp_dim=24 vocab_size=64 max_target_length=16 per_device_batch_size=1 dtype=float32 "
    "weight_dtype=float32 dataset_type=synthetic enable_checkpointing=false"
)
CASES = tuple(
    Case(name, flags)
    for name, flags in {
        "default": "decoder_block=default",
        "llama2": "decoder_block=llama2",
        "llama2-on-axis-0": "decoder_block=llama2 param_scan_axis=0",
        "llama2-mtp": "decoder_block=llama2 mtp_num_layers=2",
        "llama2-fp8": "decoder_block=llama2 quantization=fp8",
        "mistral": "decoder_block=mistral",
        "mixtral": f"decoder_block=mixtral {_MOE}",
        "gemma": "decoder_block=gemma",
        "gemma2": f"decoder_block=gemma2 base_num_decoder_layers=6 {_NORMS}",
        "gemma3": f"{_GEMMA3} base_num_decoder_layers=14",
        "gemma3-vision": f"{_GEMMA3} base_num_decoder_layers=6 use_multimodal=true {_TOWER}",
        "gemma4": f"decoder_block=gemma4 base_num_decoder_layers=14 {_GEMMA4}",
        "gemma4-moe": f"decoder_block=gemma4 base_num_decoder_layers=12 shared_experts=1 {_GEMMA4} {_MOE}",
        "gemma4-no-block": f"decoder_block=gemma4 base_num_decoder_layers=4 {_GEMMA4}",
        "gemma4-on-axis-0": f"decoder_block=gemma4 base_num_decoder_layers=14 param_scan_axis=0 {_GEMMA4}",
        "gemma4_small": f"decoder_block=gemma4_small base_num_decoder_layers=6 {_GEMMA4}",
        "gpt3": "decoder_block=gpt3 fused_qkv=true base_num_kv_heads=6",
        "gpt_oss": (
            "decoder_block=gpt_oss base_num_decoder_layers=6 inhomogeneous_layer_cycle_interval=2 "
            f"attention_bias=true attention_sink=true routed_bias=true mlp_bias=true {_MOE}"
        ),
        "qwen2": "decoder_block=qwen2 attention_bias=true",
        "qwen3": "decoder_block=qwen3 use_qk_norm=true",
        "qwen3_moe": f"decoder_block=qwen3_moe use_qk_norm=true {_MOE}",
        "qwen3_custom_moe": (
            "decoder_block=qwen3_custom_moe use_qk_norm=true attention_output_dim=12 moe_expert_input_dim=12 "
            f"{_MOE}"
        ),
        "qwen3_next": f"base_num_decoder_layers=8 {_QWEN3_NEXT}",
        "qwen3_next-remainder": f"base_num_decoder_layers=10 {_QWEN3_NEXT}",
        "qwen3_5": f"decoder_block=qwen3_5 {_CYCLE} {_MOE} {_LINEAR}",
        "simple": "decoder_block=simple",
        "simple_mlp": "decoder_block=simple_mlp",
        "envy": f"decoder_block=envy {_CYCLE} {_MOE}",
        "olmo3": f"decoder_block=olmo3 {_CYCLE} sliding_window_size=4 use_qk_norm=true",
        "llama4": (
            f"decoder_block=llama4 {_CYCLE} interleave_moe_layer_step=2 nope_layer_interval=4 "
            f"shared_experts=1 chunk_attn_window_size=8 {_MOE} num_experts_per_tok=1"
        ),
        "deepseek": _DEEPSEEK,
        "deepseek-mhc": f"{_DEEPSEEK} mhc_expansion_rate=4",
        "deepseek-mtp": f"{_DEEPSEEK} mtp_num_layers=1",
        "deepseek4": f"{_DEEPSEEK4} routed_bias=true",
        "deepseek3": f"{_OF_MODEL}=deepseek3-tiny {_DEEPSEEK} base_num_decoder_layers=6",
        "deepseek4-tiny": f"{_OF_MODEL}=deepseek4-tiny {_DEEPSEEK4} routed_bias=true",
        "deepseek4-without-bias": f"{_DEEPSEEK4} routed_bias=false",
        "pipeline-of-single-layers": (
            f"decoder_block=llama2 num_layers_per_pipeline_stage=1 num_pipeline_repeats=4 {_PIPELINE}"
        ),
        "pipeline-of-lists": (
            f"decoder_block=llama2 num_layers_per_pipeline_stage=2 num_pipeline_repeats=2 {_PIPELINE}"
        ),
        "pipeline-of-stacks": (
            "decoder_block=llama2 num_layers_per_pipeline_stage=2 num_pipeline_repeats=2 "
            f"scan_layers_per_stage=true {_PIPELINE}"
        ),
        "pipeline-of-stacks-once": (
            "decoder_block=llama2 num_layers_per_pipeline_stage=4 num_pipeline_repeats=1 "
            f"scan_layers_per_stage=true {_PIPELINE}"
        ),
        "pipeline-and-others": (
            "decoder_block=llama2 num_layers_per_pipeline_stage=3 num_pipeline_repeats=1 "
            f"pipeline_parallel_layers=6 scan_layers_per_stage=true {_PIPELINE}"
        ),
        "pipeline-of-deepseek": (
            "num_layers_per_pipeline_stage=2 num_pipeline_repeats=1 pipeline_parallel_layers=4 "
            f"scan_layers_per_stage=true {_PIPELINE} {_DEEPSEEK}"
        ),
    }.items()
)
