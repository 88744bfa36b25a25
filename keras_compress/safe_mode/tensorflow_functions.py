"""Functions of TensorFlow and Keras that compute and do nothing else: what an operator layer of a file may call.

Keras writes ``x + y`` or ``tf.concat`` into a file as the public name of the function, and calls that function when the file
is read. Whole namespaces of mathematics are known; of others, which also read files or change the process, single names.
"""

from __future__ import annotations

import inspect

from tensorflow.python.util.tf_export import get_symbol_from_name

from keras_compress.safe_mode.tensorflow_operations import HARMLESS_OPERATIONS

__all__ = ["is_harmless_function"]

#: Namespaces in which every function computes, but for those of :data:`_SETTINGS`.
_NAMESPACES = frozenset(
    [
        "__operators__",
        "audio",
        "bitwise",
        "experimental.numpy",
        "experimental.numpy.random",
        "image",
        "linalg",
        "linalg.experimental",
        "math",
        "math.special",
        "nn",
        "nn.experimental",
        "quantization",
        "ragged",
        "random",
        "random.experimental",
        "sets",
        "signal",
        "sparse",
        "strings",
        "keras.activations",
        "keras.losses",
        "keras.metrics",
    ]
)
#: What changes or returns something of the whole process, though it stands among functions that compute.
_SETTINGS = frozenset(
    [
        "create_rng_state",
        "deserialize",
        "experimental_enable_numpy_behavior",
        "get",
        "get_global_generator",
        "seed",
        "serialize",
        "set_global_generator",
        "set_seed",
    ]
)
#: Names at the top of TensorFlow.
_TOP = """
Assert abs acos acosh add add_n approx_top_k arg_max arg_min argmax argmin argsort as_string asin asinh assert_equal
assert_greater assert_less assert_rank atan atan2 atanh batch_gather batch_to_space batch_to_space_nd betainc bincount bitcast
boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to cast ceil check_numerics cholesky cholesky_solve
clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value complex concat confusion_matrix conj constant conv
convert_to_tensor cos cosh count_nonzero cross cumprod cumsum decode_base64 decode_csv decode_raw depth_to_space dequantize diag
diag_part digamma div div_no_nan divide dynamic_partition dynamic_stitch edit_distance eig eigvals einsum encode_base64
ensure_shape equal erf erfc exp expand_dims expm1 extract_image_patches extract_volume_patches eye fake_quant_with_min_max_args
fake_quant_with_min_max_args_gradient fake_quant_with_min_max_vars fake_quant_with_min_max_vars_gradient
fake_quant_with_min_max_vars_per_channel fake_quant_with_min_max_vars_per_channel_gradient fft fft2d fft3d fftnd fill fingerprint
floor floor_div floordiv floormod gather gather_nd global_norm greater greater_equal guarantee_const histogram_fixed_width
histogram_fixed_width_bins identity identity_n ifft ifft2d ifft3d ifftnd igamma igammac imag invert_permutation irfftnd is_finite
is_inf is_nan is_non_decreasing is_strictly_increasing lbeta less less_equal lgamma lin_space linspace log log1p log_sigmoid
logical_and logical_not logical_or logical_xor matmul matrix_band_part matrix_determinant matrix_diag matrix_diag_part
matrix_inverse matrix_set_diag matrix_solve matrix_solve_ls matrix_square_root matrix_transpose matrix_triangular_solve maximum
meshgrid minimum mod multinomial multiply negative no_op norm not_equal one_hot ones ones_like pad parallel_stack polygamma pow
qr quantize quantize_v2 quantized_concat random_crop random_gamma random_index_shuffle random_normal random_poisson
random_shuffle random_uniform range rank real realdiv reciprocal reduce_all reduce_any reduce_join reduce_logsumexp reduce_max
reduce_mean reduce_min reduce_prod reduce_sum regex_replace repeat required_space_to_batch_paddings reshape reverse
reverse_sequence reverse_v2 rfftnd rint roll round rsqrt saturate_cast scalar_mul scatter_nd searchsorted segment_max
segment_mean segment_min segment_prod segment_sum self_adjoint_eig self_adjoint_eigvals sequence_mask setdiff1d shape shape_n
sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd space_to_depth sparse_add sparse_concat
sparse_fill_empty_rows sparse_mask sparse_matmul sparse_maximum sparse_minimum sparse_reduce_max sparse_reduce_max_sparse
sparse_reduce_sum sparse_reduce_sum_sparse sparse_reorder sparse_reset_shape sparse_reshape sparse_retain sparse_segment_mean
sparse_segment_sqrt_n sparse_segment_sum sparse_slice sparse_softmax sparse_split sparse_tensor_dense_matmul
sparse_tensor_to_dense sparse_to_dense sparse_to_indicator sparse_transpose split sqrt square squared_difference squeeze stack
stop_gradient strided_slice string_join string_split string_strip string_to_hash_bucket string_to_hash_bucket_fast
string_to_hash_bucket_strong string_to_number substr subtract svd tan tanh tensor_scatter_add tensor_scatter_nd_add
tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensor_scatter_sub
tensor_scatter_update tensordot tile to_bfloat16 to_complex128 to_complex64 to_double to_float to_int32 to_int64 trace transpose
truediv truncated_normal truncatediv truncatemod tuple unique unique_with_counts unravel_index unsorted_segment_max
unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum unstack where
where_v2 zeros zeros_like zeta
"""
#: Names in namespaces that hold other things too.
_ELSEWHERE = {
    "debugging": """
Assert assert_all_finite assert_equal assert_greater assert_greater_equal assert_integer assert_less assert_less_equal assert_near
assert_negative assert_non_negative assert_non_positive assert_none_equal assert_positive assert_rank assert_rank_at_least
assert_rank_in assert_scalar assert_shapes check_numerics
""",
    "dtypes": "cast complex saturate_cast",
    "io": """
decode_and_crop_jpeg decode_base64 decode_bmp decode_compressed decode_csv decode_gif decode_image decode_jpeg decode_json_example
decode_jxl decode_png decode_raw decode_webp deserialize_many_sparse encode_base64 encode_jpeg encode_png extract_jpeg_shape is_jpeg
parse_example parse_sequence_example parse_single_example parse_single_sequence_example parse_tensor serialize_many_sparse
serialize_sparse serialize_tensor
""",
}
_NAMES = {"": frozenset(_TOP.split()), **{space: frozenset(names.split()) for space, names in _ELSEWHERE.items()}}


def is_harmless_function(name: str) -> bool:
    """Return whether a public name of TensorFlow or Keras is that of a function that only computes.

    Args:
        name: as an operator layer writes it down, with the namespace.

    Example:
        >>> is_harmless_function("math.add"), is_harmless_function("io.write_file")
        (True, False)
    """
    space, _, own = name.removeprefix("compat.v1.").rpartition(".")
    if space == "raw_ops":
        return own in HARMLESS_OPERATIONS
    known = own not in _SETTINGS if space in _NAMESPACES else own in _NAMES.get(space, ())
    if not known or own.startswith("_"):
        return False
    symbol = get_symbol_from_name(name)
    return symbol is not None and not inspect.isclass(symbol)
