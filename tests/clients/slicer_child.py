"""Load files with 3D Slicer's own core. Runs in the viewers' environment, without a line of this project.

One JSON object a line comes in: `path`, `labels` (whether as a label map), `array` (where to save the voxels). One goes out.
"""

import json
import sys

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def load(path, as_labels):
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerVolumesLogic()
    logic.SetMRMLScene(scene)
    node = logic.AddArchetypeVolume(path, "file", 1 if as_labels else 0)
    if node is None or node.GetImageData() is None:
        return scene, None
    return scene, node


def load_sequence(path):
    scene = slicer.vtkMRMLScene()
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = slicer.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(path)
    if not storage.ReadData(sequence):
        return scene, []
    return scene, [sequence.GetNthDataNode(n) for n in range(sequence.GetNumberOfDataNodes())]


def affine_of(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)]


def array_of(node):
    image = node.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = image.GetDimensions()[::-1]
    if values.ndim == 1:
        return values.reshape(shape).transpose(2, 1, 0)
    return values.reshape(*shape, values.shape[1]).transpose(2, 1, 0, 3)


def describe(request):
    scene, node = load(request["path"], request["labels"])
    nodes = [node]
    if node is None:
        scene, nodes = load_sequence(request["path"])
    if not nodes:
        return {"refused": True}
    arrays = [array_of(one) for one in nodes]
    np.save(request["array"], arrays[0] if node is not None else np.stack(arrays, axis=-1))
    answer = {"refused": False, "affines": [affine_of(one) for one in nodes]}
    if request["labels"]:
        answer["segments"] = count_segments(scene, node)
    return answer


def count_segments(scene, node):
    """As the Segment Editor has it: the label map imported, and each segment's voxels and the middle of them in RAS mm."""
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(node, segmentation)
    found = []
    for n in range(segmentation.GetSegmentation().GetNumberOfSegments()):
        name = segmentation.GetSegmentation().GetNthSegmentID(n)
        image = slicer.vtkOrientedImageData()
        segmentation.GetBinaryLabelmapRepresentation(name, image)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        to_ras = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
        begin = np.array(image.GetExtent()[::2])
        columns, rows, planes = image.GetDimensions()
        filled = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(planes, rows, columns).transpose(2, 1, 0) != 0
        indices = np.argwhere(filled) + begin
        middle = to_ras[:3, :3] @ indices.mean(axis=0) + to_ras[:3, 3]
        found.append([len(indices), middle.tolist()])
    return found


def main():
    vtk.vtkObject.GlobalWarningDisplayOff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    for line in sys.stdin:
        print(json.dumps(describe(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
