"""List the attributes whose values a description shows, and the words that may stand in them.

Rules:
- What is not listed is never shown: only that it is present, its VR, and its length.
- A listed attribute shows numbers, words that the standard or a scanner defines, UIDs of the standard, and nothing else. Any
  other text is replaced by a number, the same for the same text; so is any other UID; a date or time by its rank.
"""

from __future__ import annotations

SHOWN = frozenset(
    """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality SeriesNumber SeriesDescription
    ProtocolName InstanceNumber AcquisitionNumber AcquisitionTime ContentTime ImageType Manufacturer PatientID PatientName
    PatientPosition ImagePositionPatient ImageOrientationPatient PixelSpacing NominalScannedPixelSpacing ImagerPixelSpacing
    SliceThickness SpacingBetweenSlices SliceLocation GantryDetectorTilt Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation SamplesPerPixel PhotometricInterpretation PlanarConfiguration PixelAspectRatio NumberOfFrames
    RescaleSlope RescaleIntercept RescaleType LossyImageCompression TemporalPositionIdentifier TriggerTime EchoTime
    EchoNumbers DiffusionBValue DiffusionGradientOrientation MagneticFieldStrength RepetitionTime BurnedInAnnotation
    SegmentationType MaximumFractionalValue SegmentationFractionalType SegmentsOverlap PixelPaddingValue
    PixelPaddingRangeLimit PresentationLUTShape ImageOrientationSlide ConversionType
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PlanePositionSequence PlaneOrientationSequence
    PixelMeasuresSequence PixelValueTransformationSequence FrameContentSequence SegmentIdentificationSequence
    MREchoSequence MRDiffusionSequence CardiacSynchronizationSequence MRImageFrameTypeSequence CTImageFrameTypeSequence
    DerivationImageSequence SourceImageSequence FrameType StackID InStackPositionNumber TemporalPositionIndex
    FrameAcquisitionNumber FrameAcquisitionDateTime ReferencedSegmentNumber EffectiveEchoTime NominalCardiacTriggerDelayTime
    DimensionIndexValues DimensionOrganizationSequence DimensionOrganizationUID DimensionIndexSequence DimensionIndexPointer
    FunctionalGroupPointer DimensionOrganizationType ConcatenationUID InConcatenationNumber
    InConcatenationTotalNumber ConcatenationFrameOffsetNumber
    FrameIncrementPointer SliceVector EnergyWindowVector DetectorVector PhaseVector RotationVector RRIntervalVector
    TimeSlotVector AngularViewVector TimeSliceVector SliceLocationVector DetectorInformationSequence GridFrameOffsetVector
    DoseGridScaling DoseUnits DoseType DoseSummationType
    SegmentSequence SegmentNumber SegmentLabel SegmentAlgorithmType SegmentedPropertyCategoryCodeSequence
    SegmentedPropertyTypeCodeSequence CodeValue CodingSchemeDesignator CodeMeaning RecommendedDisplayCIELabValue
    StructureSetROISequence ROINumber ReferencedFrameOfReferenceUID ROIName ROIGenerationAlgorithm ROIContourSequence
    ROIDisplayColor ReferencedROINumber ContourSequence ContourImageSequence ContourGeometricType NumberOfContourPoints
    ContourNumber AttachedContours ContourSlabThickness ContourOffsetVector RTROIObservationsSequence ObservationNumber
    RTROIInterpretedType ReferencedFrameOfReferenceSequence RTReferencedStudySequence RTReferencedSeriesSequence
    FrameOfReferenceRelationshipSequence RelatedFrameOfReferenceUID FrameOfReferenceTransformationMatrix
    FrameOfReferenceTransformationMatrixType StructureSetLabel ReferencedSeriesSequence ReferencedInstanceSequence
    ReferencedStudySequence ReferencedImageSequence ReferencedSOPClassUID ReferencedSOPInstanceUID ReferencedFrameNumber
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
    """.split()
)
# Numbers that tell series, planes and acquisitions apart: a scanner may put a date into one. Larger ones show their rank.
COUNTERS = frozenset("SeriesNumber InstanceNumber AcquisitionNumber FrameAcquisitionNumber ObservationNumber".split())
LARGEST_COUNTER = 99_999

WORDS = frozenset(
    """
    ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER SCOUT HELIX OTHER REFORMATTED MPR PROJECTION IMAGE MOSAIC VFRAME
    NORM ND DIS2D DIS3D MFSPLIT FM SE GE IR M P R I MAGNITUDE PHASE REAL IMAGINARY M_SE M_FFE M_IR FFE ADC DIFFUSION TRACEW FA
    PET_STATIC STATIC DYNAMIC GATED
    RECON TOMO WHOLE BODY EMISSION TRANSMISSION VOLUME VOLUMETRIC SAMPLED NONE MIXED UNKNOWN T1 T2 STIR MAXIMUM MINIMUM MEAN
    MONOCHROME FLOW FLUID DISTORTED UNDISTORTED NONLINEAR RESAMPLED SUBTRACTION FUSED DOSE MASK CSA PARALLEL CONTRAST
    MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_ICT YBR_RCT YBR_PARTIAL_420 ARGB CMYK HSV
    CT MR PT NM US CR DX MG XA RF OT SC SEG RTSTRUCT RTDOSE RTPLAN RTIMAGE REG PR SR KO MS SM OP OPT OCT ES IO PX
    HFS HFP FFS FFP HFDR HFDL FFDR FFDL LFP LFS RFP RFS AFDR AFDL PFDR PFDL
    BINARY FRACTIONAL LABELMAP PROBABILITY OCCUPANCY AUTOMATIC SEMIAUTOMATIC MANUAL YES NO UNDEFINED
    CLOSED_PLANAR OPEN_PLANAR OPEN_NONPLANAR POINT CLOSEDPLANAR_XOR RIGID RIGID_SCALE AFFINE
    EXTERNAL PTV CTV GTV ORGAN AVOIDANCE CAVITY MARKER BOLUS SUPPORT FIXATION CONTROL REGISTRATION ISOCENTER TREATED_VOLUME
    IRRAD_VOLUME CONTRAST_AGENT BRACHY_CHANNEL BRACHY_SRC_APP DOSE_REGION DOSE_MEASUREMENT SURFACE
    GY RELATIVE PHYSICAL EFFECTIVE ERROR PLAN MULTI_PLAN FRACTION BEAM RECORD IDENTITY INVERSE
    3D 3D_TEMPORAL TILED_FULL TILED_SPARSE DRW DSI DV WSD SD SI SYN DF DI
    HU US OD MGML Z_EFF ED EDW HU_MOD PCT 00 01
    DCM SRT SCT SNM3 UCUM
    """.split()
)
MAKERS = (
    "SIEMENS PHILIPS GE TOSHIBA CANON HITACHI UIH FUJIFILM ELEKTA VARIAN RAYSEARCH BRAINLAB MATERIALISE MIM ACCURAY AGFA "
    "CARESTREAM SHIMADZU SAMSUNG HIGHDICOM DCMQI"
).split()
