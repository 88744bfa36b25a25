"""Damage to files: bytes by chance, and nodes, names and sizes of graphs that nobody would write."""


def cut_or_flip(path, choose):
    content = bytearray(path.read_bytes()) or bytearray(b"\0")
    for _ in range(choose.randint(1, 4)):
        place, length = choose.randrange(len(content)), choose.choice([1, 1, 4, 64])
        action = choose.choice(["cut", "flip", "flip", "fill", "insert", "double"])
        if action == "cut":
            del content[place : place + choose.choice([1, 16, len(content)])]
            content = content or bytearray(b"\0")
        elif action == "flip":
            content[place] ^= 1 << choose.randrange(8)
        elif action == "fill":
            content[place : place + length] = bytes([choose.choice([0, 255, 127])]) * length
        elif action == "insert":
            content[place:place] = bytes(choose.randrange(256) for _ in range(length))
        else:
            content += content[place:][:1_000_000]
    path.write_bytes(bytes(content))


def spoil_text(path, choose):
    """Change words and numbers of a text, and bytes of what is none."""
    content = path.read_bytes()
    if path.suffix != ".xml":
        cut_or_flip(path, choose)
        return
    words = [
        b"Parameter",
        b"Const",
        b"MatMul",
        b'size="',
        b'offset="',
        b"f32",
        b"FakeQuantize",
        b"</layers>",
        b'to-layer="',
    ]
    for _ in range(choose.randint(1, 3)):
        word = choose.choice(words)
        content = content.replace(
            word, choose.choice([b"", b"Evil", word + b"99999999999999999999", word + b"-1"]), choose.randint(1, 3)
        )
    path.write_bytes(content)


OPERATIONS = [
    "WriteFile",
    "PyFunc",
    "EagerPyFunc",
    "Nope",
    "Identity",
    "FakeQuantWithMinMaxVars",
    "Placeholder",
    "Const",
    "While",
    "Abort",
]


def spoil_nodes(nodes, choose):
    for _ in range(choose.randint(1, 3)):
        if not nodes:
            return
        node = nodes[choose.randrange(len(nodes))]
        action = choose.choice(["operation", "cycle", "input", "attribute", "name", "remove", "double", "size"])
        if action == "operation":
            node.op = choose.choice(OPERATIONS)
        elif action == "cycle":
            node.input.append(node.name)
        elif action == "input" and node.input:
            node.input[choose.randrange(len(node.input))] = choose.choice(
                ["nowhere", "", "^", "x:99", node.name, ":", "x:-1"]
            )
        elif action == "attribute" and node.attr:
            del node.attr[choose.choice(sorted(node.attr))]
        elif action == "name":
            node.name = choose.choice(["", "x", "../x", nodes[0].name])
        elif action == "remove":
            del nodes[choose.randrange(len(nodes))]
        elif action == "double":
            nodes.add().CopyFrom(node)
        elif node.attr and "value" in node.attr and node.attr["value"].tensor.tensor_shape.dim:
            node.attr["value"].tensor.tensor_shape.dim[0].size = choose.choice([2**40, -1, 0, 2**62])


def spoil_graph(path, choose):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    spoil_nodes(graph.node, choose)
    path.write_bytes(graph.SerializeToString())


def spoil_saved_model(path, choose):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    graph = saved.meta_graphs[0]
    action = choose.choice(["body", "body", "graph", "objects", "signature", "asset", "bound"])
    if action == "body":
        spoil_nodes(
            graph.graph_def.library.function[choose.randrange(len(graph.graph_def.library.function))].node_def, choose
        )
    elif action == "graph":
        spoil_nodes(graph.graph_def.node, choose)
    elif action == "objects":
        node = graph.object_graph_def.nodes[choose.randrange(len(graph.object_graph_def.nodes))]
        for child in node.children:
            child.node_id = choose.choice([0, 99_999, -5, child.node_id])
    elif action == "signature":
        graph.signature_def.clear()
    elif action == "asset":
        graph.asset_file_def.add(filename="../outside/precious.txt").tensor_info.name = "x:0"
    else:
        for function in graph.object_graph_def.concrete_functions.values():
            if function.bound_inputs:
                function.bound_inputs[0] = choose.choice([0, 99_999, -5])
    file.write_bytes(saved.SerializeToString())


def spoil_onnx(path, choose):
    import onnx

    model = onnx.ModelProto.FromString(path.read_bytes())
    graph = model.graph
    action = choose.choice(["operation", "input", "external", "size", "version", "remove"])
    node = graph.node[choose.randrange(len(graph.node))]
    tensor = graph.initializer[choose.randrange(len(graph.initializer))]
    if action == "operation":
        node.op_type, node.domain = choose.choice(["WriteFile", "Loop", "If", "Identity"]), choose.choice(["", "evil"])
    elif action == "input" and node.input:
        node.input[0] = choose.choice(["nowhere", "", node.output[0]])
    elif action == "external":
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(
            key="location", value=choose.choice(["../../outside/precious.txt", "/etc/passwd", "nowhere"])
        )
    elif action == "size" and tensor.dims:
        tensor.dims[0] = choose.choice([2**40, -1, 0])
    elif action == "version":
        model.opset_import[0].version = choose.choice([-1, 10**9, 0])
    else:
        del graph.node[0]
    path.write_bytes(model.SerializeToString())
